"""matplotlib figures as SVG for inside a page: text stays text, colours and fonts come from the page's CSS."""

from __future__ import annotations

import html
import io
import re
from contextlib import AbstractContextManager

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Colours that no drawing would use by chance; each becomes a CSS variable.
_SENTINELS = {
    "ink": "#0a0b01",
    "muted": "#0a0b02",
    "line": "#0a0b03",
    "paper": "#0a0b04",
    "limit": "#0a0b05",
    **{f"series-{number}": f"#0a0c{number:02x}" for number in range(8)},
}
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "lossbench",  # the same picture has the same text in every run
    "font.size": 9,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.edgecolor": _SENTINELS["line"],
    "axes.labelcolor": _SENTINELS["ink"],
    "axes.titlecolor": _SENTINELS["ink"],
    "axes.titley": 1.0,  # where it is anyway: else every picture is laid out twice to find that
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": _SENTINELS["line"],
    "grid.linewidth": 0.6,
    "text.color": _SENTINELS["ink"],
    "xtick.color": _SENTINELS["line"],
    "ytick.color": _SENTINELS["line"],
    "xtick.labelcolor": _SENTINELS["muted"],
    "ytick.labelcolor": _SENTINELS["muted"],
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "axes.unicode_minus": True,
    "axes.formatter.use_mathtext": False,
    "legend.frameon": False,
}
MARKERS = "osD^vPX*"


def colour(name: str) -> str:
    """What to give matplotlib so that the page paints it in its variable `--name`."""
    return _SENTINELS[name]


def series(number: int) -> tuple[str, str]:
    """The colour and the marker of the target of that number: told apart without colour too."""
    return _SENTINELS[f"series-{number % 8}"], MARKERS[number % len(MARKERS)]


def style() -> AbstractContextManager[None]:
    """The settings under which figures are made and drawn, as a context."""
    return mpl.rc_context(_STYLE)


def inline(figure: Figure, name: str, label: str) -> str:
    """The figure as one `<svg>` element; *name* keeps its ids apart, *label* is read to those who do not see it."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if not axis.get_label_text():  # else its place is looked for, which takes a third of the time
                axis.set_label_coords(0.0, 0.0)
    out = io.StringIO()
    FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'<svg [^>]*viewBox="([^"]*)"[^>]*>', _opening(label), text, count=1, flags=re.DOTALL)
    text = re.sub(r'(\bid="|url\(#|href="#)', lambda found: f"{found[1]}{name}-", text)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px var(--sans)", text)
    for variable, sentinel in _SENTINELS.items():
        text = text.replace(sentinel, f"var(--{variable})")
    return text


def over(below: str, above: str, name: str) -> str:
    """One picture of two drawings of the same size; *name* keeps the ids of the one *below* apart."""
    kept = below[below.index(">") + 1 : below.rindex("</svg>")]
    kept = re.sub(r'(\bid="|url\(#|href="#)', lambda found: f"{found[1]}{name}", kept)
    start = above.index(">") + 1
    return above[:start] + kept + above[start:]


def _opening(label: str) -> str:
    escaped = html.escape(label).replace("\\", "\\\\")
    return rf'<svg viewBox="\1" role="img" aria-label="{escaped}" xmlns:xlink="http://www.w3.org/1999/xlink">'
