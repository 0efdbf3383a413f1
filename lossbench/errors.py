"""The exceptions that users can cause; anything else is a bug and keeps its traceback.

LossbenchError          a request that cannot be served: exit code 2
├── SpecError           a spec file, or a formula in it, is wrong
├── CallError           a framework call in a spec uses what calls may not use
├── StoreError          a run's folder is missing, foreign or damaged
└── Unsupported         the request is sound, but this target cannot serve it: recorded as a refusal
"""


class LossbenchError(Exception):
    """A request that cannot be served; the text says where, what was found, what was expected, what to do."""


class SpecError(LossbenchError):
    """A spec file, or a formula in it, is wrong."""


class CallError(LossbenchError):
    """A framework call in a spec uses what calls may not use."""


class StoreError(LossbenchError):
    """A run's folder is missing, foreign or damaged."""


class Unsupported(LossbenchError):
    """This target cannot serve a sound request."""
