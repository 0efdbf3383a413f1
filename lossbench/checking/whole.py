"""A check from its beginning to its end: what is asked for, how it was understood, what came out."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import RenderableType

from lossbench import card, spec
from lossbench.checking.explained import explained
from lossbench.checking.fit import NEAR, Fit, Misfit, fit
from lossbench.checking.pace import paced
from lossbench.checking.questions import Examination, Finding
from lossbench.checking.smallest import point, script, smallest
from lossbench.checking.subject import Subject, inspected
from lossbench.errors import LossbenchError
from lossbench.messages import Inspected
from lossbench.sweeps.ask import NoAnswer
from lossbench.text import Reduction

Verdict = Literal["right", "weak", "wrong", "no answer"]
Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Check:
    """What a loss of one's own is.

    Attributes:
        code: FILE.py:NAME or package.module:NAME.
        loss, title: Which of the catalogue it was held against.
        verdict: "weak" where it is right at ordinary inputs and loses its digits at extreme ones; "no answer" where it
            raised, hung, ended its process or gave no numbers of a fitting shape.
        findings: The answer to each question.
        why: What a wrong one is instead, in sentences.
        failing: The worst finding, at its smallest input.
        script: Code that shows it.
        assumed: What was taken for granted.
    """

    code: str
    loss: str
    title: str
    framework: str
    verdict: Verdict
    call: str = ""
    gives: str = ""
    parameters: Mapping[str, str]
    findings: tuple[Finding, ...] = ()
    why: tuple[str, ...] = ()
    failing: Finding | None = None
    script: str = ""
    assumed: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 right or weak, 1 wrong, 3 no answer."""
        return {"right": 0, "weak": 0, "wrong": 1, "no answer": 3}[self.verdict]

    @property
    def at(self) -> str:
        """The smallest failing input, to be read."""
        return point(self.failing) if self.failing is not None and self.failing.problem is not None else ""

    def __str__(self) -> str:
        """As the terminal shows it, without colours."""
        return card.plain(_told(self))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return card.html(_told(self))


def _told(one: Check) -> RenderableType:
    from lossbench.checking import printed  # which needs to know what a check is

    return printed.told(one)


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
            package.module:NAME.
        loss: A name, an alias, or the path of a spec file; where none is said, the one that it agrees with.
        framework: `torch`, `tensorflow`, `jax` or `numpy`; found out where it is not said.
        arguments: By input or parameter of the loss, what it is called there, where the names do not say it.
        reduction: `mean` or `sum`, where it gives one number for the whole batch and it is not plain which.
        dtypes: Beside float32; float64, bfloat16 and float16 where none are said.
        modes: Beside eager; all modes of the framework where none are said.
        speed: Whether one that is not wrong is timed, too, beside the framework's own.
        progress: Told what is being asked.
        **parameters: Of the loss; those left out take its defaults.

    Raises:
        LossbenchError: There is no such loss or framework, or it cannot be told what its arguments are.
    """
    with tempfile.TemporaryDirectory(prefix="lossbench-") as name:
        folder = Path(name)
        code = _code(yours, folder)
        said = {one: _exact(value) for one, value in parameters.items()}
        tell = progress or (lambda text: None)
        tell("importing")
        try:
            found = inspected(code)
        except NoAnswer as error:
            held = spec.load(loss) if loss is not None else None
            return Check(
                code=code,
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
        if framework is not None and framework not in ("torch", "tensorflow", "jax", "numpy"):
            raise LossbenchError(f"unknown framework {framework!r}; expected one of: jax, numpy, tensorflow, torch")
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
        unknown = [one for one in self.parameters if one not in loss.parameters]
        if unknown:
            options = ", ".join(loss.parameters) or "none"
            raise LossbenchError(f"{loss.name} has no parameter {unknown[0]!r}; expected one of: {options}")
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
            code=self.code,
            loss=loss.name,
            title=loss.title,
            framework=frameworks[0],
            verdict="wrong" if misshapen else "no answer",
            parameters=self.parameters,
            why=tuple(why[:1]),
        )

    def _examined(self, subject: Subject, chosen: Fit) -> Check:
        examination = Examination(
            subject=subject, found=self.found, fit=chosen, parameters=self.parameters, **self.further
        )
        findings = []
        for one in examination.findings():
            findings.append(one)
            self.tell(f"{one.question}, {one.dtype}, {one.mode}: {one.level}")
        worst = next((one for level in ("wrong", "weak") for one in findings if one.level == level), None)
        refused = findings[0].level == "refused"
        verdict: Verdict = "no answer" if refused else worst.level if worst else "right"  # type: ignore[assignment]
        why: tuple[str, ...] = (findings[0].words,) if refused else ()
        if verdict == "wrong":
            self.tell("looking for what it is instead")
            why = tuple(explained(examination))
        if self.speed and verdict in ("right", "weak"):
            self.tell("timing it")
            findings += paced(examination, self.folder)
        failing = None
        if worst is not None:
            self.tell("shrinking the failing input")
            failing = smallest(examination, worst)
        return Check(
            code=self.code,
            loss=subject.loss.name,
            title=subject.loss.title,
            framework=subject.framework,
            verdict=verdict,
            call=chosen.call,
            gives=chosen.gives,
            parameters=self.parameters,
            findings=tuple(findings),
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
                code=self.code,
                loss="",
                title="",
                framework=frameworks[0],
                verdict="wrong",
                parameters=self.parameters,
                why=("it is none of the losses of the catalogue, at their default parameters",),
            )
        return self.against(best[1], [best[2]])


def _code(yours: object, folder: Path) -> str:
    """Where a function or class stands."""
    if isinstance(yours, str):
        where, _, name = yours.rpartition(":")
        return f"{Path(where).resolve()}:{name}" if where.endswith(".py") else yours
    name = getattr(yours, "__qualname__", "")
    file = inspect.getsourcefile(yours) if inspect.isfunction(yours) or inspect.isclass(yours) else None
    if file and name.isidentifier() and Path(file).is_file():
        return f"{Path(file).resolve()}:{name}"
    raise LossbenchError(f"{yours!r} is in no file; expected a function or class at the top of one")


def _exact(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
