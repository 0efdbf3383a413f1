"""The tables of a run as files: CSV, Parquet and JSON, each column explained, and the page that offers them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from lossbench.report import tables, words
from lossbench.report.columns import TABLES
from lossbench.report.findings import Findings
from lossbench.report.tables import Table

FOLDER = "data"
FORMATS = ("csv", "parquet", "json")
_ABOUT = {
    "results": ("cells", "One row for each loss, target and dtype: the matrix of the index."),
    "cases": ("jobs", "One row for each case whose result was compared: drawn points, edges, divergences."),
    "timings": ("medians", "One row for each case that was timed."),
    "divergences": ("divergences", "One row for each declared divergence, and what this run got there."),
    "edges": ("edges", "One row for each hard point of a spec and each target."),
    "facts": ("facts", "One row for each topic of each public callable: conventions, asked by running them."),
}
_TYPES = {"b": "truth", "i": "count", "u": "count", "f": "number"}


@dataclass(frozen=True, kw_only=True)
class Download:
    """One table: `files` are addresses with their sizes."""

    name: str
    about: str
    rows: int
    files: Mapping[str, str]
    columns: Table


def frames(findings: Findings) -> dict[str, pd.DataFrame]:
    """The tables by name, with one type in each column."""
    return {name: _typed(getattr(findings, of)) for name, (of, _) in _ABOUT.items()}


def write(findings: Findings) -> None:
    """Write every table in every format into the folder of the run."""
    folder = findings.path / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in frames(findings).items():
        frame.to_csv(folder / f"{name}.csv", index=False)
        parquet.write_table(_explained(frame, name), folder / f"{name}.parquet")
        (folder / f"{name}.json").write_bytes(_listed(frame))


def page(findings: Findings) -> Mapping[str, object]:
    """The content of the template; the files are there already."""
    raw = [
        ("records.jsonl", "every answer as it came, one record a line: outputs, timings with all samples, refusals"),
        ("jobs.jsonl", "the plan: one job a line, in the order in which they were planned"),
        ("run.json", "the suite, when it was started, and by which version of lossbench and which commit"),
    ]
    return {
        "folder": FOLDER,
        "downloads": [
            Download(
                name=name,
                about=about,
                rows=len(getattr(findings, of)),
                files={kind: words.size(_size(findings.path / FOLDER / f"{name}.{kind}")) for kind in FORMATS},
                columns=_columns(name, _typed(getattr(findings, of))),
            )
            for name, (of, about) in _ABOUT.items()
        ],
        "raw": [
            (name, about, words.size(_size(findings.path / name)))
            for name, about in raw
            if (findings.path / name).exists()
        ],
    }


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with truths, numbers or texts alone in each column, missing ones empty."""
    found = {}
    for name, column in frame.items():
        if column.dtype == object:
            known = column.dropna()
            if len(known) and all(isinstance(one, bool) for one in known):
                column = column.astype("boolean")
            elif len(known) and all(isinstance(one, int | float) for one in known):
                column = column.astype(float)
            else:
                column = column.fillna("").astype(str)
        elif isinstance(column.dtype, pd.StringDtype):
            column = column.fillna("")
        found[name] = column
    return pd.DataFrame(found, columns=frame.columns)


def _explained(frame: pd.DataFrame, name: str) -> pa.Table:
    """The table with the unit and the meaning of each column in its metadata."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    fields = [field.with_metadata(TABLES[name][field.name]._asdict()) for field in table.schema]
    return table.cast(pa.schema(fields, metadata=table.schema.metadata))


def _listed(frame: pd.DataFrame) -> bytes:
    """JSON, one row a line; it has no infinities, which become the texts that pandas and Python read as such."""
    rows = ({name: _said(value) for name, value in row.items()} for row in tables.rows(frame))
    return b"[\n" + b",\n".join(map(msgspec.json.encode, rows)) + b"\n]\n"


def _said(value: object) -> object:
    if value is pd.NA:
        return None
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def _columns(name: str, frame: pd.DataFrame) -> Table:
    found = Table(caption=f"Columns of {name}", columns=["Column", "Type", "Unit", "Meaning"])
    for column in frame.columns:
        one = TABLES[name][column]
        kind = _TYPES.get(frame[column].dtype.kind, "text")
        found.rows.append([tables.code(column), *map(tables.text, (kind, one.unit, one.meaning))])
    return found


def _size(path: Path) -> int:
    return path.stat().st_size
