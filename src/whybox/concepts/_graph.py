"""Which concept causes which."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from whybox.errors import InputError, MissingDependencyError, OptionError

Estimand = Literal["total", "direct"]


def check_estimand(estimand: str) -> Estimand:
    """The estimand, if it is one.

    Raises:
        OptionError: it is neither "total" nor "direct".
    """
    if estimand not in ("total", "direct"):
        raise OptionError(f'estimand: expected "total" or "direct", got {estimand!r}')
    return estimand  # type: ignore[return-value]  # just checked


@dataclass(frozen=True)
class CausalGraph:
    """A directed acyclic graph of concepts, on networkx.

    Args:
        edges: (cause, effect) pairs of names.
        nodes: names that may stand alone; those of the edges are added.
        outcome: the variable that texts do not tell, such as the label; None (default): every node is a concept.

    Raises:
        InputError: edges form a cycle, or the outcome is not a node.
        MissingDependencyError: networkx is not installed.

    Example:
        >>> graph = CausalGraph([("price", "food"), ("food", "return")])
        >>> graph.confounders("food"), graph.mediators("food"), graph.fixed("food", "direct")
        (('price',), ('return',), ('price', 'return'))
    """

    edges: tuple[tuple[str, str], ...] = ()
    nodes: tuple[str, ...] = ()
    outcome: str | None = None

    def __post_init__(self) -> None:
        edges = tuple((str(a), str(b)) for a, b in self.edges)
        nodes = tuple(dict.fromkeys([*self.nodes, *(name for edge in edges for name in edge)]))
        object.__setattr__(self, "edges", edges)
        object.__setattr__(self, "nodes", nodes)
        if self.outcome is not None and self.outcome not in nodes:
            raise InputError(f"causal graph: the outcome {self.outcome!r} is not among its nodes {nodes}")
        nx = _networkx()
        if not nx.is_directed_acyclic_graph(self._graph):
            cycle = [a for a, *_ in nx.find_cycle(self._graph)]
            raise InputError(
                f"causal graph: a cause cannot be its own effect, got the cycle {' -> '.join([*cycle, cycle[0]])}; remove an edge"
            )

    @cached_property
    def _graph(self) -> Any:
        graph = _networkx().DiGraph()
        graph.add_nodes_from(self.nodes)
        graph.add_edges_from(self.edges)
        return graph

    def __getstate__(self) -> dict[str, Any]:
        return {"edges": self.edges, "nodes": self.nodes, "outcome": self.outcome}

    @classmethod
    def from_networkx(cls, graph: Any, *, outcome: str | None = None) -> CausalGraph:
        """The same graph as a networkx DiGraph."""
        return cls(tuple(graph.edges()), tuple(graph.nodes()), outcome)

    def to_networkx(self) -> Any:
        """A networkx DiGraph of one's own."""
        return self._graph.copy()

    def check(self, names: Iterable[str]) -> None:
        """Refuse a graph whose nodes are not these concepts (the outcome apart).

        Raises:
            InputError: names that stand only in the graph, or only among the concepts.
        """
        known, mine = set(names), set(self.nodes) - {self.outcome}
        if mine - known:
            raise InputError(
                f"causal graph: {sorted(mine - known)} are not concepts; the concepts are {sorted(known)} (name the label with outcome=)"
            )
        if known - mine:
            raise InputError(
                f"causal graph: the concepts {sorted(known - mine)} are not in the graph; add them to nodes=, alone if nothing causes them"
            )

    def _known(self, concept: str) -> str:
        if concept not in self.nodes or concept == self.outcome:
            raise OptionError(f"concept: expected one of {sorted(set(self.nodes) - {self.outcome})}, got {concept!r}")
        return concept

    def parents(self, concept: str) -> tuple[str, ...]:
        """Direct causes of a concept, the outcome among them if it is one."""
        return tuple(sorted(self._graph.predecessors(self._known(concept))))

    def ancestors(self, concept: str) -> tuple[str, ...]:
        """All causes of a concept, the outcome among them if it is one."""
        return tuple(sorted(_networkx().ancestors(self._graph, self._known(concept))))

    def effects(self, concept: str) -> tuple[str, ...]:
        """Concepts that follow when this one is set: its descendants, without the outcome."""
        return tuple(sorted(_networkx().descendants(self._graph, self._known(concept)) - {self.outcome}))

    def confounders(self, concept: str) -> tuple[str, ...]:
        """Common causes of the concept and of the outcome by a way around the concept (without an outcome: all its causes)."""
        nx = _networkx()
        causes = nx.ancestors(self._graph, self._known(concept)) - {self.outcome}
        if self.outcome is None or self.outcome in nx.ancestors(self._graph, concept):
            return tuple(sorted(causes))  # an outcome that is itself a cause is told by every cause's text
        around = self._graph.copy()
        around.remove_node(concept)
        return tuple(sorted(c for c in causes if nx.has_path(around, c, self.outcome)))

    def mediators(self, concept: str) -> tuple[str, ...]:
        """Effects of the concept by which it acts on the outcome (without an outcome: all its effects, as the text tells them)."""
        if self.outcome is None:
            return self.effects(concept)
        return tuple(sorted(set(self.effects(concept)) & _networkx().ancestors(self._graph, self.outcome)))

    def fixed(self, concept: str, estimand: Estimand = "total") -> tuple[str, ...]:
        """What an edit of the concept must leave as it is.

        "total": everything but the concept and its effects. "direct": everything but the concept.
        """
        free = {self._known(concept), self.outcome} | (set(self.effects(concept)) if check_estimand(estimand) == "total" else set())
        return tuple(sorted(set(self.nodes) - free))

    def may_move(self, concept: str, estimand: Estimand = "total") -> tuple[str, ...]:
        """What an edit of the concept may move besides: its effects when the total effect is asked for, nothing for the direct effect."""
        return self.effects(concept) if check_estimand(estimand) == "total" else ()


def _networkx() -> Any:
    try:
        import networkx as nx
    except ImportError as error:
        raise MissingDependencyError("networkx", "concepts", "CausalGraph") from error
    return nx
