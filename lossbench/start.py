"""Begins a worker under any Python: `python start.py DESCRIPTOR`. Of its environment only NumPy and msgspec are needed,
and the framework; lossbench is this one, whatever is installed there, and nothing else of where this one is."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
NEEDED = ("msgspec", "numpy")
OLDEST = (3, 11)


def main() -> None:
    """Become the worker, or end with what is missing as last words."""
    sys.path[:] = [path for path in sys.path if path != HERE]  # where Python begins to look for any module
    if sys.version_info < OLDEST:
        sys.exit(f"Python {sys.version.split()[0]} in {sys.executable}; expected 3.11 or newer")

    import runpy
    from importlib.util import find_spec, module_from_spec, spec_from_file_location

    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        sys.exit(f"No module named {missing[0]!r}; try: {sys.executable} -m pip install {' '.join(missing)}")
    found = spec_from_file_location("lossbench", os.path.join(HERE, "__init__.py"))
    assert found is not None
    assert found.loader is not None, "a file of Python has a loader"
    sys.modules["lossbench"] = module_from_spec(found)
    found.loader.exec_module(sys.modules["lossbench"])
    runpy.run_module("lossbench.worker", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
