"""A check from its beginning to its end: what is asked for, how it was understood, what came out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from lossbench import plan, spec
from lossbench.adapters import yours as own
from lossbench.checking import sent
from lossbench.checking.examining import findings
from lossbench.checking.explained import explained
from lossbench.checking.fit import NEAR, Fit, Misfit, fit
from lossbench.checking.pace import paced
from lossbench.checking.pasted import script
from lossbench.checking.questions import DTYPES, PATIENCE, Examination
from lossbench.checking.result import Check, Verdict
from lossbench.checking.smallest import smallest
from lossbench.checking.subject import Subject, inspected
from lossbench.errors import LossbenchError
from lossbench.messages import Inspected
from lossbench.sweeps.ask import NoAnswer
from lossbench.text import Reduction

__all__ = ["Check", "check"]

Progress = Callable[[str], None]
FRAMEWORKS = ("jax", "numpy", "tensorflow", "torch")


def check(
    yours: object,
    loss: str | Path | None = None,
    *,
    framework: str | None = None,
    arguments: Mapping[str, str] | None = None,
    reduction: Reduction | None = None,
    dtypes: Sequence[str] | None = None,
    modes: Sequence[str] | None = None,
    speed: bool = False,
    progress: Progress | None = None,
    **parameters: object,
) -> Check:
    """Whether a loss of one's own is what the catalogue calls *loss*.

    It is imported and run in processes of their own; whatever it does, this one goes on.

    Args:
        yours: A function, a class or module whose instances are called, or where it stands: FILE.py:NAME or
            package.module:NAME. What is in no file (a lambda, what a notebook defines) is sent with cloudpickle.
        loss: A name, an alias, or the path of a spec file; where none is said, the one that it agrees with.
        framework: `torch`, `tensorflow`, `jax` or `numpy`; found out where it is not said.
        arguments: By input or parameter of the loss, what it is called there, where the names do not say it.
        reduction: `mean` or `sum`, where it gives one number for the whole batch and it is not plain which.
        dtypes: Beside float32; float64, bfloat16 and float16 where none are said.
        modes: Beside eager; all modes of the framework where none are said.
        speed: Whether one that is not wrong is timed, too, beside the framework's own.
        progress: Told what is being asked.
        **parameters: Of the loss; those left out take the defaults of *yours*, else its own. A name that is none of
            them is another argument of *yours*, which gets the value: `axis=-1`.

    Raises:
        LossbenchError: There is no such loss, framework or code, or it cannot be told what its arguments are.
    """
    if own.running:
        where = 'is called by the code that it imports; put that call below `if __name__ == "__main__":`'
        raise LossbenchError(f"lossbench.check {where}")
    if framework is not None and framework not in FRAMEWORKS:
        raise LossbenchError(f"unknown framework {framework!r}; expected one of: {', '.join(FRAMEWORKS)}")
    for dtype in dtypes or ():
        if dtype not in DTYPES:
            raise LossbenchError(f"unknown dtype {dtype!r}; expected one of: {', '.join(sorted(DTYPES))}")
    with tempfile.TemporaryDirectory(prefix="lossbench-") as name:
        folder = Path(name)
        code = sent.code(yours, folder)
        said = {one: _exact(value) for one, value in parameters.items()}
        tell = progress or (lambda text: None)
        tell("importing")
        try:
            found = inspected(code)
        except NoAnswer as error:
            held = spec.load(loss) if loss is not None else None
            return Check(
                code=sent.shown(code),
                loss=held.name if held else "",
                title=held.title if held else "",
                framework=framework or "",
                verdict="no answer",
                parameters=said,
                why=(str(error),),
            )
        further = {"dtypes": tuple(dtypes)} if dtypes is not None else {}
        further |= {"modes": tuple(modes)} if modes is not None else {}
        asked = _Asked(code, found, folder, arguments or {}, reduction, said, further, speed, tell)
        frameworks = [framework] if framework else found.frameworks
        return asked.against(loss, frameworks) if loss is not None else asked.whatever(frameworks)


@dataclass(frozen=True)
class _Asked:
    code: str
    found: Inspected
    folder: Path
    arguments: Mapping[str, str]
    reduction: Reduction | None
    parameters: Mapping[str, str]
    further: Mapping[str, Any]
    speed: bool
    tell: Progress

    def against(self, name: str | Path, frameworks: list[str]) -> Check:
        """Held against one loss, in the first of the frameworks in which it runs."""
        loss = spec.load(name)
        if loss.accumulated or loss.has_sizes:
            kind = "a metric" if loss.accumulated else "a loss of whole batches or sequences"
            raise LossbenchError(f"{loss.name} is {kind}; expected a loss of elements or rows")
        why: list[str] = []
        misshapen = False
        for framework in frameworks:
            subject = Subject(loss, self.code, framework, self.folder)
            self.tell(f"calling it in {framework}")
            try:
                chosen = fit(subject, self.found, self.arguments, self.parameters, self.reduction)
            except Misfit as error:
                why.append(f"{framework}: {error}")
                misshapen = misshapen or error.misshapen
                continue
            return self._examined(subject, chosen)
        return Check(
            code=sent.shown(self.code),
            loss=loss.name,
            title=loss.title,
            framework=frameworks[0],
            verdict="wrong" if misshapen else "no answer",
            parameters=self.parameters,
            why=tuple(why[:1]),
        )

    def _examined(self, subject: Subject, chosen: Fit) -> Check:
        known = plan.modes(subject.framework)
        for mode in self.further.get("modes", ()):
            if mode not in known:
                raise LossbenchError(f"{subject.framework} has no mode {mode!r}; expected one of: {', '.join(known)}")
        examination = Examination(subject=subject, fit=chosen, until=monotonic() + PATIENCE, **self.further)
        answers = []
        for one in findings(examination):
            answers.append(one)
            self.tell(f"{one.question}, {one.dtype}, {one.mode}: {one.level}")
        worst = next((one for level in ("wrong", "weak") for one in answers if one.level == level), None)
        refused = answers[0].level == "refused"
        verdict: Verdict = "no answer" if refused else worst.level if worst else "right"  # type: ignore[assignment]
        why: tuple[str, ...] = (answers[0].words,) if refused else ()
        if verdict == "wrong" and worst is not None:
            self.tell("looking for what it is instead")
            why = tuple(explained(examination, worst))
        if self.speed and verdict in ("right", "weak"):
            self.tell("timing it")
            answers += paced(examination, self.folder)
        failing = None
        if worst is not None:
            self.tell("shrinking the failing input")
            failing = smallest(examination, worst)
        return Check(
            code=sent.shown(self.code),
            loss=subject.loss.name,
            title=subject.loss.title,
            framework=subject.framework,
            verdict=verdict,
            call=chosen.call,
            gives=chosen.gives,
            parameters=chosen.parameters,
            findings=tuple(answers),
            why=why,
            failing=failing,
            script=script(self.code, examination, failing) if failing else "",
            assumed=chosen.assumed,
        )

    def whatever(self, frameworks: list[str]) -> Check:
        """Held against every loss with as many inputs; then against the one that it agrees with best."""
        best: tuple[float, str, str] | None = None
        for loss in spec.load_all():
            if len(loss.inputs) > len(self.found.called) or loss.accumulated or loss.has_sizes:
                continue
            self.tell(f"is it {loss.name}?")
            subject = Subject(loss, self.code, frameworks[0], self.folder)
            try:
                chosen = fit(subject, self.found, self.arguments, {}, self.reduction)
            except LossbenchError:
                continue
            if best is None or chosen.apart < best[0]:
                best = (chosen.apart, loss.name, frameworks[0])
        if best is None or best[0] > NEAR:
            return Check(
                code=sent.shown(self.code),
                loss="",
                title="",
                framework=frameworks[0],
                verdict="wrong",
                parameters=self.parameters,
                why=("it is none of the losses of the catalogue, at their default parameters",),
            )
        return self.against(best[1], [best[2]])


def _exact(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
