"""A comparison as JUnit XML, which CI servers show test by test."""

from __future__ import annotations

import re
from collections import Counter
from xml.etree import ElementTree as ET

from lossbench.comparing import told
from lossbench.comparing.whole import Comparison

# What XML 1.0 cannot hold, escaped or not.
NO_TEXT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text(done: Comparison) -> str:
    """One test case for each row: failures got worse or slower, errors were not measured, new ones are skipped."""
    rows = told.rows(done)
    kinds = Counter(_kind(row["change"]) for row in rows)
    counts = {"tests": len(rows), "failures": kinds["failure"], "errors": kinds["error"], "skipped": kinds["skipped"]}
    attributes = {name: str(count) for name, count in counts.items()}
    suites = ET.Element("testsuites", attributes)
    suite = ET.SubElement(suites, "testsuite", {"name": "lossbench compare", **attributes})
    for row in rows:
        case = ET.SubElement(suite, "testcase", classname=_plain(row["loss"]), name=_plain(row["name"]))
        if kind := _kind(row["change"]):
            changed = f"{row['was']} -> {row['now']}" if row["was"] or row["now"] else ""
            said = _plain(": ".join(filter(None, (row["change"], changed))))
            ET.SubElement(case, kind, message=said).text = _plain("\n".join((row["detail"], row["script"])).strip())
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _kind(change: str) -> str:
    if change == "not measured":
        return "error"
    if told.alarming(change):
        return "failure"
    return "skipped" if change in ("new", "dropped", "inconclusive") else ""


def _plain(text: str) -> str:
    return NO_TEXT.sub("?", text)
