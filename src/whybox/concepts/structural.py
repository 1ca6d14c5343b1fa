"""The oracle: counterfactuals of a structural causal model, exact because the noise is known."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from whybox.concepts._concept import Concept, by_name
from whybox.concepts._graph import CausalGraph, Estimand, check_estimand
from whybox.concepts._source import check_current, check_texts
from whybox.errors import InputError, OptionError
from whybox.explanations.counterfactuals import Counterfactuals, Edit, GenerationCost


class StructuralTexts(Protocol):
    """Texts of a structural causal model, such as :func:`whybox.datasets.concept_reviews`."""

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts."""

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """What they tell."""

    @property
    def graph(self) -> CausalGraph:
        """The true graph."""

    def values(self, concept: str) -> tuple[str, ...]:
        """The concept's value in every text."""

    def counterfactual(self, index: Any, do: Mapping[str, str], *, estimand: Estimand = "total") -> tuple[str, ...]:
        """Exact counterfactual texts of some rows."""


@dataclass(frozen=True)
class StructuralCounterfactuals:
    """Exact counterfactuals: noise and wording kept, the concept set, its effects propagated, the text rendered again.

    Its effects are the true effects of the structural model on the explained model: the error of ConceptEffect with it is exactly 0.
    The counterfactual of one of its own counterfactuals is known as well (rewriting twice).

    Args:
        data: the texts with their structural model.
        estimand: "total" (default) or "direct".

    Example:
        >>> from whybox.datasets import concept_reviews
        >>> data = concept_reviews(20)
        >>> e = StructuralCounterfactuals(data).counterfactuals(data.texts, "food", to="Negative")
        >>> bool(e.valid.all()), e.edits[0].text == data.counterfactual([e.edits[0].original], {"food": "Negative"})[0]
        (True, True)
    """

    data: StructuralTexts = field(repr=False)
    estimand: Estimand = "total"

    def __post_init__(self) -> None:
        check_estimand(self.estimand)

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """What the texts tell."""
        return self.data.concepts

    @cached_property
    def _known(self) -> dict[str, tuple[int, tuple[tuple[str, str], ...]]]:
        """Text to (row, what was set): the originals, and every counterfactual of one intervention."""
        rows = range(len(self.data.texts))
        known: dict[str, tuple[int, tuple[tuple[str, str], ...]]] = {}
        for concept in self.data.concepts:
            for value in concept.values:
                texts = self.data.counterfactual(rows, {concept.name: value}, estimand=self.estimand)
                known |= {text: (i, ((concept.name, value),)) for i, text in enumerate(texts)}
        return known | {text: (i, ()) for i, text in enumerate(self.data.texts)}

    def counterfactuals(
        self, texts: Sequence[str], concept: str, *, to: str, k: int = 1, seed: int = 0, current: Sequence[str | None] | None = None
    ) -> Counterfactuals:
        """The exact counterfactual of each text.

        Args:
            texts: texts of the data, or counterfactuals of them.
            concept: what is set.
            to: its new value.
            k: only 1 makes sense: there is one exact counterfactual. More gives it once.
            seed: nothing is drawn.
            current: checked, and otherwise ignored: the values are known.

        Raises:
            InputError: a text is not known.
        """
        began = time.perf_counter()
        originals = check_texts(texts)
        named = by_name(self.data.concepts)
        if concept not in named:
            raise OptionError(f"concept: expected one of {sorted(named)}, got {concept!r}")
        named[concept].check(to)
        check_current(current, len(originals), named[concept].values)
        edits = []
        for i, text in enumerate(originals):
            row, done = self._find(text)
            source = self.value(text, concept)
            if source == to:
                continue
            new = self.data.counterfactual([row], {**dict(done), concept: to}, estimand=self.estimand)[0]
            edits.append(Edit(i, concept, source, to, 0, new))
        cost = GenerationCost(seconds=time.perf_counter() - began)
        settings = {"k": k, "seed": seed}
        return Counterfactuals(
            texts=originals,
            edits=tuple(edits),
            source="StructuralCounterfactuals",
            estimand=self.estimand,
            cost=cost,
            settings=settings,
        )

    def value(self, text: str, concept: str) -> str | None:
        """The concept's value in a text of the data or in a counterfactual of one.

        Raises:
            InputError: the text is not known.
        """
        row, done = self._find(text)
        return dict(done).get(concept) or (self.data.values(concept)[row] if not done else self._value(row, done, concept))

    def _find(self, text: str) -> tuple[int, tuple[tuple[str, str], ...]]:
        if text not in self._known:
            raise InputError(f"texts: exact counterfactuals are known for the texts of the data only, and {text[:60]!r} is none of them")
        return self._known[text]

    def _value(self, row: int, done: tuple[tuple[str, str], ...], concept: str) -> str | None:
        """The concept's value after an intervention elsewhere: the one whose setting changes nothing."""
        text = self.data.counterfactual([row], dict(done), estimand=self.estimand)[0]
        for value in by_name(self.data.concepts)[concept].values:
            if self.data.counterfactual([row], {**dict(done), concept: value}, estimand=self.estimand)[0] == text:
                return value
        return None
