"""What follows when a concept is set: new values of its effects, each text keeping its place among its likes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from whybox.concepts._graph import CausalGraph
from whybox.concepts._ordinal import Ordinal
from whybox.concepts._pool import CandidatePool
from whybox.concepts._splice import one_hot
from whybox.typing import Floats, Ints


@dataclass(frozen=True)
class Followers:
    """Conditional distributions of concepts given their causes, from the pool's labels.

    A text's value of an effect is a quantile of its distribution given its causes; after the intervention it takes the same quantile of the
    new distribution. For a mechanism that grows with its noise, followed by rounding, this is the exact counterfactual distribution.

    Args:
        pool: labelled candidates.
        graph: which concept causes which.

    Source: abduction, action, prediction: Pearl, Causality, 2009, theorem 7.1.7; the monotone mechanism is our assumption, values in the
    order in which the concept lists them.
    """

    pool: CandidatePool
    graph: CausalGraph = field(repr=False)

    @cached_property
    def _order(self) -> tuple[str, ...]:
        """Causes before effects."""
        names = [c.name for c in self.pool.concepts]
        return tuple(sorted(names, key=lambda c: len(set(self.graph.ancestors(c)) & set(names))))

    def _causes(self, concept: str) -> tuple[str, ...]:
        """What its distribution depends on: its causes; if the outcome, which nobody told, is one, all that is no effect of it."""
        names = {c.name for c in self.pool.concepts}
        parents = set(self.graph.parents(concept))
        if self.graph.outcome in parents:
            parents |= names - set(self.graph.effects(concept)) - {concept}
        return tuple(sorted(parents & names))

    @cached_property
    def _models(self) -> dict[str, Ordinal | None]:
        return {}

    def _model(self, concept: str) -> Ordinal | None:
        """Its distribution given its causes; None if it has none."""
        if concept not in self._models:
            causes = self._causes(concept)
            codes = np.stack([self.pool.codes(c) for c in (concept, *causes)], axis=1)
            codes = codes[(codes >= 0).all(axis=1)]
            self._models[concept] = None
            if len(codes) and causes:
                self._models[concept] = Ordinal.fit(self._design(causes, codes[:, 1:]), codes[:, 0], len(self.pool.concept(concept).values))
        return self._models[concept]

    def _design(self, causes: Sequence[str], codes: Ints) -> Floats:
        return np.concatenate([one_hot(codes[:, j], len(self.pool.concept(c).values)) for j, c in enumerate(causes)], axis=1)

    def cumulative(self, concept: str, values: Mapping[str, int]) -> Floats | None:
        """(v,) distribution function over the concept's values given those of its causes; None where it cannot be told."""
        model = self._model(concept)
        if model is None:
            return None
        causes = self._causes(concept)
        key = (concept, tuple(values[c] for c in causes))
        if key not in self._found:
            self._found[key] = model.cumulative(self._design(causes, np.array([key[1]])))[0]
        return self._found[key]

    @cached_property
    def _found(self) -> dict[tuple[str, tuple[int, ...]], Floats]:
        return {}

    def follow(self, before: Mapping[str, int], concept: str, to: int, k: int, rng: np.random.Generator) -> list[dict[str, int]]:
        """k draws of what becomes of the concept's effects: the codes of those that change.

        Args:
            before: concept to code of one text.
            concept: what is set.
            to: its new code.
            k: draws.
            rng: of the draws, which are spread evenly over each quantile's range.
        """
        effects = set(self.graph.effects(concept))
        after = [{**before, concept: to} for _ in range(k)]
        for name in self._order:
            if name not in effects:
                continue
            now = self.cumulative(name, before)
            if now is None:
                continue
            low = now[before[name] - 1] if before[name] else 0.0
            spread = (rng.permutation(k) + 0.5) / k
            for draw, share in zip(after, spread.tolist(), strict=True):
                new = self.cumulative(name, draw)
                assert new is not None
                quantile = low + share * (now[before[name]] - low)
                draw[name] = min(int(np.searchsorted(new, quantile, side="right")), len(new) - 1)
        return [{name: code for name, code in draw.items() if code != before[name]} for draw in after]
