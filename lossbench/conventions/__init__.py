"""Conventions as facts: what each public callable does where its name does not say, asked by running it.

A topic is a question with a probe; `observe` puts all of them to one callable. `writing` keeps the answers in spec
files as `[[facts]]`, and `proofs` tells of a run which of those are still so.
"""

from lossbench.conventions.observe import observe
from lossbench.conventions.topics import TOPICS

__all__ = ["TOPICS", "observe"]
