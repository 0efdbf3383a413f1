"""One worker process as its parent sees it: how it is started, asked, given up and ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path
from time import monotonic

from lossbench import machine, messages
from lossbench.messages import Reply, Request
from lossbench.records import Reason, Target

START = Path(__file__).with_name("start.py")
LOOK = 0.2  # seconds between looks at a process that keeps its pipe open and may yet be dead
LAST_WORDS = 300  # characters
# What decides the numbers: without it times differ by up to five times for reasons that no loss has.
SHARED = {
    # Idle threads must sleep: spinning ones change their neighbours' times ten times over.
    "KMP_BLOCKTIME": "0",
    "OMP_WAIT_POLICY": "PASSIVE",
    # Large arrays come from memory already mapped; else page faults, not losses, are what is timed.
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "268435456",
    # A hand-off to another thread costs more than most losses; our adapter of JAX reads this, JAX does not.
    "JAX_CPU_ENABLE_ASYNC_DISPATCH": "false",
}


class Lost(Exception):
    """A worker that did not answer; it is no longer there."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason
        self.detail = detail


class Child:
    """A worker process, our end of its pipe, the log that gets all it prints, and its folder for temporary files.

    That folder is ours, so that it goes even where the worker is killed.
    """

    def __init__(self, target: Target, folder: Path, threads: int, processors: Sequence[int] = ()) -> None:
        """Start it; it says nothing until it is asked.

        Args:
            target: What it will be asked to open.
            folder: Of the run, which has `logs`.
            threads: How many it may use.
            processors: Where it is kept; wherever we may run ourselves where none are given.

        Raises:
            Lost: Its interpreter cannot be started.
        """
        self._scratch = tempfile.mkdtemp(prefix="lossbench-")
        self.log = folder / "logs" / f"{_plain(target.name)}.log"
        ours, theirs = Pipe()
        try:
            with theirs, self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [target.interpreter or sys.executable, str(START), str(theirs.fileno()), self._scratch],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.log.parent,  # where nothing can be imported by mistake
                    env=variables(target, threads) | {"TMPDIR": self._scratch},
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # so that its own children end with it, and Ctrl-C is for us alone
                )
            machine.pin(processors, self._process.pid)
        except OSError as error:
            ours.close()
            shutil.rmtree(self._scratch, ignore_errors=True)
            raise Lost("not installed", f"{target.interpreter}: {error.strerror}; expected a Python") from None
        self._pipe = ours
        self._over = False

    def ask(self, request: Request, deadline: float) -> Reply:
        """The reply to *request*, within *deadline* seconds.

        Raises:
            Lost: The worker ended, or had to be ended, before it replied.
        """
        kills = _memory_kills()
        end = monotonic() + deadline
        try:
            self._pipe.send_bytes(messages.encode(request))
            while not self._pipe.poll(min(LOOK, max(0.0, end - monotonic()))):
                if self._process.poll() is not None and not self._pipe.poll():
                    raise EOFError
                if monotonic() >= end:
                    self.stop()
                    raise Lost("timed out", f"no answer after {deadline:g} seconds{self._said()}")
            return messages.reply(self._pipe.recv_bytes())
        except (EOFError, ConnectionError):
            how = self._ended()
            self.stop()
            if how == "killed by SIGKILL" and _memory_kills() > kills:
                raise Lost("out of memory", f"{how} as the machine ran out of memory") from None
            raise Lost("crashed", how + self._said()) from None

    def kill(self) -> None:
        """End it and all that it started; whoever waits for its reply finds the pipe closed."""
        if not self._over:  # else its number may be another's by now
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def stop(self) -> None:
        """End it, and let go of our end."""
        self.kill()
        self._process.wait()
        self._over = True
        self._pipe.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _ended(self) -> str:
        """How a worker ended that closed its pipe."""
        try:
            status = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "closed its pipe"
        return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"

    def _said(self) -> str:
        """Where its log is, and the last line of it."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"; see logs/{self.log.name}" + (f", which ends: {last[:LAST_WORDS]}" if last else "")


def variables(target: Target, threads: int) -> dict[str, str]:
    """The environment of a worker: the same threads, waiting and memory for every target that is not plain."""
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    found = os.environ | {
        "PYTHONFAULTHANDLER": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": os.pathsep.join(map(os.path.abspath, filter(None, inherited))),  # it works in another folder
        "PYTHONUNBUFFERED": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TORCHINDUCTOR_COMPILE_THREADS": "1",  # else a pool of compilers stays and wakes between timings
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # else one worker takes most of a GPU from all others
    }
    if target.device == "cpu":
        found |= {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    if not target.plain or target.threads:
        found |= _counts(str(threads))
    return found if target.plain else found | SHARED


def _counts(count: str) -> dict[str, str]:
    """As many threads for every framework."""
    return {
        "LOSSBENCH_THREADS": count,
        "MKL_NUM_THREADS": count,
        "NPROC": count,  # XLA
        "NUMBA_NUM_THREADS": count,
        "OMP_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_NUM_INTRAOP_THREADS": count,
    }


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name).strip("-")


def _memory_kills() -> int:
    """How many processes the system has killed so far because memory ran out; 0 where it does not say."""
    found = 0
    for path in ("/proc/vmstat", "/sys/fs/cgroup/memory.events"):
        with suppress(OSError):
            for line in Path(path).read_text(encoding="ascii").splitlines():
                if line.startswith("oom_kill "):
                    found += int(line.split()[1])
    return found
