"""How objects of the library look in a notebook: a title, a formula, tables; and as plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO

from jinja2 import Environment
from markupsafe import Markup
from rich.console import Console, RenderableType

WIDTH = 100  # letters
_CARD = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    """<div class="lossbench">
<p><b>{{ title }}</b>{% if summary %} {{ summary }}{% endif %}</p>
{% if mathml %}<p>{{ mathml }}</p>{% endif %}
{% for one in tables %}
<table>{% if one.caption %}<caption>{{ one.caption }}</caption>{% endif %}
<thead><tr>{% for heading in one.headings %}<th scope="col">{{ heading }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in one.rows %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table>
{% endfor %}
</div>"""
)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Texts in rows, below their headings."""

    headings: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""


def card(title: str, summary: str = "", *, mathml: str = "", tables: Sequence[Table] = ()) -> str:
    """HTML for a notebook; everything but *mathml*, which is our own, is escaped."""
    return _CARD.render(title=title, summary=summary, mathml=Markup(mathml), tables=tables)


def plain(shown: RenderableType) -> str:
    """What a terminal shows, without colours."""
    text = StringIO()
    console = Console(file=text, width=WIDTH, no_color=True, highlight=False, force_jupyter=False, force_terminal=False)
    console.print(shown)
    return text.getvalue()


def html(shown: RenderableType) -> str:
    """What a terminal shows, for a notebook."""
    console = Console(record=True, width=WIDTH, file=StringIO(), highlight=False, force_jupyter=False)
    console.print(shown)
    return console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")
