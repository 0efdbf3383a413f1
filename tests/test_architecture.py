"""The rules of the structure: what may import what, and that the parent never loads a framework."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "lossbench"
FRAMEWORKS = {"torch", "tensorflow", "keras", "jax", "optax"}

# A module may import modules of its own layer and of those below it.
LAYERS = (
    {"cli", "__main__", "pytest_plugin"},
    {
        "again",
        "audit",
        "budget",
        "checking",
        "comparing",
        "doctor",
        "evaluation",
        "limits",
        "history",
        "porting",
        "report",
        "runs",
        "spec_command",
        "sweeps",
        "terminal",
    },
    {
        "accuracy",
        "answers",
        "conventions",
        "edges",
        "goals",
        "harness",
        "hessians",
        "judge",
        "kept",
        "lengths",
        "lineage",
        "plain",
        "quiet",
    }
    | {"references", "script", "soundness", "speed", "start", "worker", "workers"},
    {"adapters", "callables", "child", "timed"},
    {"agreement", "declared", "inputs", "memory", "plan", "store", "targets", "turns"},
    {"bandwidth", "cases", "conditioning", "curvature", "machine", "messages", "points", "suite", "verdicts", "worst"},
    {"checks", "records", "spec"},
    {"loss"},
    {"formula", "kernels"},
    {
        "arrays",
        "card",
        "compilations",
        "errors",
        "journal",
        "lines",
        "origin",
        "shown",
        "tail",
        "text",
        "timing",
        "toml",
        "ulp",
    },
)


def layer(module: str) -> int:
    return next(at for at, modules in enumerate((*LAYERS, {"__version__"})) if module in modules)


def imports(path: Path) -> set[str]:
    """The first names below lossbench that a file imports, anywhere in it but for type checking."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    types = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    skipped = {node for block in types for node in ast.walk(block)}
    found = set()
    for node in set(ast.walk(tree)) - skipped:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lossbench":
            parts = (node.module or "").split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("lossbench.")}
    return found


SITE = PACKAGE / "docs" / "conf.py"  # Sphinx runs it
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path not in (PACKAGE / "__init__.py", SITE)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    too_high = {name for name in imports(path) if name != own and layer(name) < layer(own)}

    assert not too_high, f"{path.name} imports from a layer above its own"


def loaded(statement: str, packages: set[str] = FRAMEWORKS) -> set[str]:
    """Which of *packages* a fresh interpreter has loaded after *statement*."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted({packages!r} & set(sys.modules))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_parent_imports_no_framework():
    parent = "accuracy, adapters, audit, doctor, evaluation, harness, inputs, plan, porting, references, report, runs"

    assert not loaded(f"import lossbench\nfrom lossbench import cli, {parent}")


def test_list_imports_no_framework():
    assert not loaded("from lossbench.cli import app; app(['list'], standalone_mode=False)")


def test_isolation_probe_can_fail():
    assert loaded("import mpmath", {"mpmath"}) == {"mpmath"}


def test_the_package_alone_loads_nothing_heavy():
    heavy = {"flint", "matplotlib", "numba", "numpy", "pandas", "scipy"}

    assert not loaded("import lossbench\nlossbench.load\nlossbench.names()", heavy)


def test_every_public_name_is_there():
    import lossbench

    assert all(getattr(lossbench, name) is not None for name in lossbench.__all__)
    assert set(lossbench.__all__) == set(lossbench._HOME)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_adapters_import_frameworks(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}

    if path.parent.name != "adapters":
        assert not {module.split(".")[0] for module in modules} & FRAMEWORKS
