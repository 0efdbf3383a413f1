"""How small a slowdown the gate finds here, and how often it cries wolf: `python tests/planted_slowdowns.py`.

In each comparison two targets of one adapter, of which one does more by exactly so many percent, are measured and
decided on as `lossbench compare --confirm` does it: pairs of fresh worker processes, the same functions. Every
comparison is written at once, so that a run that was cut off goes on where it was; the table is printed at the end.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from scipy import stats

from lossbench import spec
from lossbench.comparing import pairs, rule
from lossbench.comparing.pairs import Side
from lossbench.records import Case, Job, Target

ADAPTER = Path(__file__).parent / "planted_adapter"
HUBER = spec.load("huber")
KINDS = ((10, "forward"), (1000, "forward"), (1000, "gradient"), (100_000, "gradient"))
PLANTED = {"0": 4, "2": 1, "5": 1, "10": 1, "20": 1}  # how many of each in a round


def comparisons(count: int) -> Iterator[tuple[str, int, str]]:
    """What is planted, in how many numbers and in what; *count* of each, and four times as many with nothing."""
    for number in range(count):
        for planted, times in PLANTED.items():
            for each in range(times):
                yield planted, *KINDS[(number * times + each) % len(KINDS)]


def side(folder: Path, planted: str, size: int, measure: str) -> Side:
    case = Case(loss="huber", digest=HUBER.digest, dtype="float32", points="timing", shape=(size,), reduction="mean")
    return Side(job=Job(case=case, target=Target(framework="planted", mode=planted), measure=measure), folder=folder)


def table(found: list[dict[str, object]]) -> str:
    """How often each was called slower, with the 95 % interval of that rate."""
    lines = ["| planted | comparisons | called slower | 95 % interval | faster | same | inconclusive | pairs | ratio |"]
    lines.append("|---:|---:|---:|---|---:|---:|---:|---:|---:|")
    for planted in PLANTED:
        rows = [one for one in found if one["planted"] == planted]
        if not rows:
            continue
        count = {word: sum(one["verdict"] == word for one in rows) for word in rule.VERDICTS}
        low, high = stats.binomtest(count["slower"], len(rows)).proportion_ci(method="exact")
        pairs_each = sum(len(one["base"]) for one in rows) / len(rows)
        ratios = sorted(one["ratio"] for one in rows)
        cells = (f"{planted} %", len(rows), f"{count['slower']} ({count['slower'] / len(rows):.1%})")
        cells += (f"{low:.1%} to {high:.1%}", count["faster"], count["same"], count["inconclusive"])
        cells += (f"{pairs_each:.1f}", f"{ratios[len(ratios) // 2]:.4f}")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main(
    to: Annotated[Path, typer.Option("--out", help="The file that gets a line for each comparison.")] = Path(
        "reports/planted.jsonl"
    ),
    count: Annotated[int, typer.Option(help="Comparisons of each slowdown; four times as many of none.")] = 50,
) -> None:
    """Plant slowdowns, and print how many were found."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ADAPTER), os.environ.get("PYTHONPATH"))))
    to.parent.mkdir(parents=True, exist_ok=True)
    found = [json.loads(line) for line in to.read_text().splitlines()] if to.exists() else []
    asked, start, before = list(comparisons(count)), time.monotonic(), len(found)
    with TemporaryDirectory() as folder, to.open("a") as out:
        (Path(folder) / "specs").mkdir()
        (Path(folder) / "specs" / "huber.toml").write_text(HUBER.source, encoding="utf-8")
        for planted, size, measure in asked[before:]:
            one = pairs.measured(side(Path(folder), "0", size, measure), side(Path(folder), planted, size, measure))
            if one.why:
                raise SystemExit(one.why)
            decided = one.decision()
            found.append({"planted": planted, "size": size, "measure": measure, "verdict": decided.verdict()})
            found[-1] |= {"ratio": decided.ratio, "base": one.base, "head": one.head}
            out.write(json.dumps(found[-1]) + "\n")
            out.flush()
            if len(found) % 8 == 0:
                left = (time.monotonic() - start) / (len(found) - before) * (len(asked) - len(found))
                print(f"{len(found)} of {len(asked)} comparisons; about {left / 60:.0f} min left", flush=True)
    print(table(found))


if __name__ == "__main__":
    typer.run(main)
