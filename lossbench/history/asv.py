"""The series that asv keeps, read from its result files: what its own pages show, without a browser or a network."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lossbench.errors import LossbenchError

if TYPE_CHECKING:
    from asv.results import Results

# What asv says of a machine; of the rest of a result's facts an environment is made.
MACHINE = ("arch", "cpu", "machine", "num_cpu", "os", "ram")
AXES = ("framework", "mode", "device", "settings", "dtype", "reduction", "threads", "points", "shape")
COLUMNS = [
    *("loss", "target", *AXES, "measure", "unit"),
    *("commit", "date", "machine", "environment", "value", "low", "high"),
]


def series(folder: Path | str) -> pd.DataFrame:
    """One row for each value of the generated benchmarks, in the order of the commits' dates.

    As on asv's pages, benchmarks that are no longer there, and results of another version of one, are left out; so are
    combinations that were skipped.

    Args:
        folder: Of asv's results: `.asv/results`.

    Columns:
        loss, target, framework, mode, device, settings, dtype, reduction, threads, points, shape: Whose series it is;
            `any` and `all` stand where an axis is no choice.
        measure: "forward", "gradient", "forward memory", "gradient memory", "value ulp", "gradient ulp", "mismatches",
            or of a count of verdicts "verdicts: wrong".
        unit: seconds, bytes, ulp, numbers or cases.
        commit, date: The whole hash, and when it was committed (UTC).
        machine, environment: asv's name of the machine; Python and the versions of a matrix.
        value: nan where the benchmark failed.
        low, high: The ends of asv's 99 % interval; nan where it has none.

    Raises:
        LossbenchError: asv is not installed, or there are no results.
    """
    try:
        from asv import results, util
        from asv.benchmarks import Benchmarks
    except ModuleNotFoundError as error:
        raise LossbenchError(f"asv is not installed ({error}); try: pip install 'lossbench[asv]'") from None
    path = Path(folder)
    listed = path / "benchmarks.json"
    if not listed.is_file():
        raise LossbenchError(f"{path} has no benchmarks.json; expected the results of asv, such as .asv/results")
    try:
        benchmarks = util.load_json(str(listed), api_version=Benchmarks.api_version)
    except util.UserError as error:
        raise LossbenchError(f"{listed}: not written by this asv ({error})") from None
    ours = {name: one for name, one in benchmarks.items() if one["param_names"][: len(AXES)] == list(AXES)}
    rows = [row for one in results.iter_results(str(path)) for row in _rows(one, ours)]
    found = pd.DataFrame(rows, columns=COLUMNS)
    return found.sort_values(["date", "loss", "measure", "target"], kind="stable", ignore_index=True)


def _rows(found: Results, benchmarks: dict[str, Any]) -> Iterator[dict[str, object]]:
    facts = {name: str(value) for name, value in found.params.items()}
    environment = ", ".join(f"{name} {value}" for name, value in sorted(facts.items()) if name not in MACHINE)
    for key in found.get_result_keys(benchmarks):
        benchmark = benchmarks[key]
        loss, _, measure = benchmark["pretty_name"].partition(": ")
        params = found.get_result_params(key)  # its own: what it has not got, asv would call failed
        values, stats = found.get_result_value(key, params), found.get_result_stats(key, params)
        for place, value, stat in zip(product(*params), values, stats, strict=True):
            if value != value:  # nan: skipped
                continue
            at = dict(zip(AXES, place, strict=False))
            plain = "!plain" if at["settings"] == "plain" else ""
            yield {
                **at,
                "loss": loss,
                "target": f"{at['framework']}:{at['mode']}:{at['device']}{plain}",
                "measure": ": ".join((measure, *place[len(AXES) :])),
                "unit": benchmark["unit"],
                "commit": found.commit_hash,
                "date": pd.Timestamp(found.date, unit="ms", tz="UTC"),
                "machine": facts["machine"],
                "environment": environment,
                "value": float("nan") if value is None else float(value),
                "low": _end(stat, "ci_99_a"),
                "high": _end(stat, "ci_99_b"),
            }


def _end(stat: dict[str, float | None] | None, name: str) -> float:
    """Of an interval; asv has none of a few samples."""
    end = (stat or {}).get(name)
    return float("nan") if end is None or abs(end) == float("inf") else float(end)
