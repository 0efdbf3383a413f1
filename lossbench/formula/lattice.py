"""The alignments of one sequence, written out as a graph of single numbers."""

from __future__ import annotations

import numpy as np

from lossbench.formula import alignments
from lossbench.formula.graph import Graph, Node


class Lattice:
    """The log probabilities of one sequence's states, as nodes; states that cannot be are left out.

    Here a forward and a backward step are sums over states, without the recursion in arrays of `alignments`.
    """

    def __init__(
        self,
        graph: Graph,
        log_probs: np.ndarray,
        labels: np.ndarray,
        input_length: np.ndarray,
        label_length: np.ndarray,
        blank: np.ndarray,
    ) -> None:
        self.graph = graph
        self.shape = log_probs.shape
        count = min(max(int(label_length), 0), len(labels))
        self.log_probs = log_probs[: max(int(input_length), 0)]
        self.states = alignments.states(labels[:count].tolist(), int(blank))
        self.possible = [
            0 <= label < self.shape[1] and (place % 2 == 0 or label != int(blank))
            for place, (label, _) in enumerate(self.states)
        ]
        self.ends = [len(self.states) - 1, *([len(self.states) - 2] if count else [])]

    def loss(self) -> Node:
        return self.graph.neg(self.total(self.forward()))

    def occupancy(self) -> np.ndarray:
        graph, forward, backward = self.graph, self.forward(), self.backward()
        total = self.total(forward)
        found = np.full(self.shape, graph.number(0), object)
        for time, (before, after) in enumerate(zip(forward, backward, strict=True)):
            for label in range(self.shape[1]):
                places = [place for place, (one, _) in enumerate(self.states) if one == label]
                joint = [graph.add(before[one], after[one]) for one in places if one in before and one in after]
                if not any(place in forward[-1] for place in self.ends):
                    joint = [total]  # minus infinity less itself
                shares = [graph.unary("exp", graph.sub(one, total)) for one in joint]
                found[time, label] = graph.over("row_sum", shares)
        return found

    def total(self, forward: list[dict[int, Node]]) -> Node:
        if not len(self.log_probs):
            return self.graph.number(0) if len(self.states) == 1 else self.graph.impossible()
        final = [forward[-1][place] for place in self.ends if place in forward[-1]]
        if final:
            return self.graph.over("logsumexp", final)
        # No alignment: minus infinity, and of no entry is that a function with a derivative.
        dead = [self.graph.add(one, self.graph.impossible()) for one in self.log_probs.ravel().tolist()]
        return self.graph.over("logsumexp", [*dead, dead[0]])

    def forward(self) -> list[dict[int, Node]]:
        """log P(this state at this time, and all classes up to it)."""
        found: list[dict[int, Node]] = []
        for row in self.log_probs:
            here: dict[int, Node] = {}
            for place, (label, sources) in enumerate(self.states):
                if not self.possible[place]:
                    continue
                if not found:
                    if place < 2:
                        here[place] = row[label]
                    continue
                into = [found[-1][source] for source in sources if source in found[-1]]
                if into:
                    here[place] = self.graph.add(self.graph.over("logsumexp", into), row[label])
            found.append(here)
        return found

    def backward(self) -> list[dict[int, Node]]:
        """log P(all classes after this time, given this state at it)."""
        zero = self.graph.number(0)
        found = [{place: zero for place in self.ends if self.possible[place]}]
        for row in self.log_probs[:0:-1]:
            after, here = found[0], {}
            for place in range(len(self.states)):
                onward = [one for one, (_, sources) in enumerate(self.states) if place in sources and one in after]
                ways = [self.graph.add(after[one], row[self.states[one][0]]) for one in onward]
                if ways and self.possible[place]:
                    here[place] = self.graph.over("logsumexp", ways)
            found.insert(0, here)
        return found[: len(self.log_probs)]
