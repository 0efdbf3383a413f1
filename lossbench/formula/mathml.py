"""LaTeX to MathML that browsers set well and that nothing in the text can break out of."""

from __future__ import annotations

import html
from functools import cache
from xml.etree.ElementTree import Element, tostring

from latex2mathml.converter import convert_to_element

_LIMITS = ("∑", "max", "min")  # what is summed over stands below, where there is room


@cache
def mathml_of(tex: str, *, block: bool = False) -> str:
    """One `<math>` element with *tex*; `block` sets it on a line of its own.

    LaTeX that the converter cannot read is shown as text.
    """
    try:
        math = convert_to_element(tex, display="block" if block else "inline")
    except Exception:  # a symbol in a user's spec may be anything, and the converter's refusals have no common class
        math = Element("math", {"display": "block" if block else "inline"})
        wrong = Element("mtext")
        wrong.text = tex
        math.append(wrong)
    _tidied(math)
    return tostring(math, encoding="unicode")


def _tidied(parent: Element) -> None:
    """Entities become characters, alignment becomes what MathML Core knows, words become operators."""
    for at, element in enumerate(parent):
        # The converter writes entities as text and leaves escaping out; characters let the printer escape all.
        element.text = html.unescape(element.text) if element.text else None
        word = element.text or ""
        if element.tag == "mtd" and (align := element.attrib.pop("columnalign", None)):
            element.set("style", f"text-align:{align}")
        elif element.tag in ("mi", "mo") and len(word) > 1 and word.isalpha() and word.isascii():
            behind = "".join(parent[at + 1].itertext()) if at + 1 < len(parent) and parent.tag != "msub" else ""
            element.tag = "mo"
            fenced = html.unescape(behind).startswith("(")
            element.attrib.update(form="prefix", lspace="0.167em", rspace="0em" if fenced else "0.167em")
        _tidied(element)
        if element.tag == "msub" and (element[0].text or "") in _LIMITS:
            element.tag = "munder"
            if element[0].text != "∑":
                element[0].set("movablelimits", "true")
