"""A report of about 60 losses x 12 targets, its sizes and times: `python tests/large_run.py RUN`, or `make large`.

RUN is a real run; each of its targets becomes several, under labels such as those of versions. Their records are those
of the run, but the numbers of drawn points differ by an ulp here and there, as those of versions do, so that nothing
that is the same in all of them makes the report lighter than it would be. FOLDER keeps the large run.
"""

import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from in_browser import HERE, started
from msgspec.structs import replace
from rich.console import Console

from lossbench import runs, terminal
from lossbench.records import REFERENCE, Died, Environment, Job, Output, Record, Target
from lossbench.store import Store

TARGETS = 12
EVERY = 50  # entries, of which one is an ulp off
PAGES = ("index.html", "defects.html", "conventions.html", "losses/softmax_cross_entropy.html")
# Milliseconds: until the document is there, until all of it is loaded, and until a filter is seen.
OPENED = """
const done = arguments[0], [page] = performance.getEntriesByType("navigation");
const ready = Math.round(page.domContentLoadedEventEnd), loaded = Math.round(page.loadEventEnd);
const field = document.querySelector("#filter [name=text]"), start = performance.now();
if (!field) return done([ready, loaded, null]);
field.value = "huber";
field.dispatchEvent(new Event("input", {bubbles: true}));
requestAnimationFrame(() => requestAnimationFrame(() => done([ready, loaded, Math.round(performance.now() - start)])));
"""


def larger(base: Store, folder: Path) -> Store:
    """The run of *base* with `TARGETS` targets, in *folder*."""
    planned = base.jobs()
    targets = list(dict.fromkeys(job.target for job in planned if job.target != REFERENCE and not job.target.twin))
    copies = -(-TARGETS // len(targets))

    def labelled(target: Target, copy: int) -> Target:
        return replace(target, label=f"{replace(target, twin=False).name.removesuffix(':cpu')} {copy + 1}")

    def several(job: Job) -> Iterator[tuple[int, Job]]:
        if job.target == REFERENCE:
            yield 0, job
        else:
            for copy in range(1 if job.target.twin else copies):
                yield copy, replace(job, target=labelled(job.target, copy))

    jobs = [one for job in planned for _, one in several(job)]
    store = Store.create(folder, jobs, list(base.losses().values()), base.suite)
    for record in base.records():
        for one in _copies(record, copies, labelled, several, base, store):
            store.append(one)
    for path in (base.path / "arrays").iterdir():
        shutil.copy(path, store.path / "arrays")
    store.close()
    return store


def _copies(record: Record, copies: int, labelled, several, base: Store, store: Store) -> Iterator[Record]:
    if isinstance(record, Environment | Died):
        for copy in range(copies):
            found = replace(record, target=labelled(record.target, copy))
            if isinstance(found, Environment) and copy:  # a version of its own, which has no budget
                versions = {name: f"{version}.{copy}" for name, version in found.versions.items()}
                found = replace(found, versions=versions)
            yield found
    elif not hasattr(record, "job"):
        yield record
    else:
        for copy, job in several(record.job):
            found = replace(record, job=job)
            if isinstance(found, Output) and copy and job.case.points == "domain":
                arrays = {name: store.put(_moved(base.array(of), copy)) for name, of in found.arrays.items()}
                found = replace(found, arrays=arrays)
            yield found


def _moved(array: np.ndarray, copy: int) -> np.ndarray:
    """*array* with some of its numbers an ulp larger, others for each *copy*."""
    moved = array.copy()
    if array.dtype.kind == "f":
        moved.ravel()[copy::EVERY] = np.nextafter(moved.ravel()[copy::EVERY], array.dtype.type(np.inf))
    return moved


def opened(page: str) -> list[int | None]:
    """Until that page is there, is loaded and has filtered, in milliseconds, in a fresh Chromium."""
    with TemporaryDirectory() as profile:
        driver = started(profile)
        try:
            driver.get(page)
            driver.implicitly_wait(10)
            driver.find_element("id", "main")
            return driver.execute_async_script(OPENED)
        finally:
            driver.quit()


def main(run: Path, folder: Path) -> None:
    store = larger(Store.open(run), folder)
    start = time.perf_counter()
    with terminal.progress(Console(stderr=True)) as tell:
        done = runs.reported(store.path, progress=tell)
    written = time.perf_counter() - start
    findings = done.findings
    start = time.perf_counter()
    single = done.single_file()
    packed = time.perf_counter() - start
    pages = sum(path.stat().st_size for path in store.path.rglob("*.html") if path != single)
    print(f"{len(findings.losses)} losses x {len(findings.targets)} targets, {len(findings.planned)} jobs")
    print(f"written in {written:.1f} s, in one file in {packed:.1f} s more")
    print(f"all pages {pages / 1e6:.1f} MB, in one file {single.stat().st_size / 1e6:.1f} MB")
    for page in PAGES:
        path = store.path / page
        size = f"{page}: {path.stat().st_size / 1e6:.2f} MB"
        print(_said(size, opened(path.as_uri())) if HERE else size)
    if HERE:
        print(_said("the index in one file", opened(single.as_uri())))


def _said(what: str, times: list[int | None]) -> str:
    ready, loaded, filtered = times
    return f"{what}, ready in {ready} ms, loaded in {loaded} ms" + (f", filtered in {filtered} ms" if filtered else "")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        with TemporaryDirectory() as home:
            main(Path(sys.argv[1]), Path(home) / "large")
