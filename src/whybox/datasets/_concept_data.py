"""Texts with known concepts, a known causal graph and exact counterfactuals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from whybox._random import generator
from whybox.concepts import CausalGraph, Concept
from whybox.datasets._render import SLOTS, Renderer
from whybox.datasets._scm import StructuralModel
from whybox.errors import InputError, OptionError
from whybox.typing import Floats, Ints

Estimand = Literal["total", "direct"]


@dataclass(frozen=True)
class ConceptData:
    """Texts rendered from a structural causal model.

    Args:
        name: of the data set.
        model: the structural model.
        renderer: writes a text from codes and style.
        noise: (n,) a variable: what counterfactuals keep.
        style: (n, slots) the voice of each row: what counterfactuals keep as well.
        codes: (n,) a variable.
        texts: the n texts, all different.

    Example:
        >>> from whybox.datasets import concept_reviews
        >>> data = concept_reviews(5)
        >>> len(data), data.concepts[0].name, data.labels.shape
        (5, 'price', (5,))
    """

    name: str
    model: StructuralModel
    renderer: Renderer = field(repr=False)
    noise: Mapping[str, Floats] = field(repr=False)
    style: Ints = field(repr=False)
    codes: Mapping[str, Ints] = field(repr=False)
    texts: tuple[str, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """What the texts tell."""
        return tuple(Concept(v.name, v.values, v.description) for v in map(self.model.__getitem__, self.renderer.told))

    @property
    def graph(self) -> CausalGraph:
        """The true causal graph, the outcome included."""
        return CausalGraph(edges=self.model.edges, nodes=tuple(v.name for v in self.model.variables), outcome=self.model.outcome)

    @property
    def labels(self) -> Ints:
        """(n,) codes of the outcome."""
        return self.codes[self.model.outcome]

    def values(self, concept: str) -> tuple[str, ...]:
        """The value of a concept in every text."""
        names = self.model[concept].values
        return tuple(names[code] for code in self.codes[concept].tolist())

    @cached_property
    def _places(self) -> dict[str, int]:
        return {text: i for i, text in enumerate(self.texts)}

    def index(self, text: str) -> int:
        """The row of a text.

        Raises:
            InputError: the text is not one of the data set.
        """
        place = self._places.get(text)
        if place is None:
            raise InputError(
                f"{self.name}: the exact counterfactual of a text is known only for its own texts, and {text[:60]!r} is none of them"
            )
        return place

    def rows(self, index: Sequence[int] | Ints) -> ConceptData:
        """Some rows, as a data set."""
        at = np.asarray(index, dtype=np.int64)
        return ConceptData(
            self.name,
            self.model,
            self.renderer,
            {name: e[at] for name, e in self.noise.items()},
            self.style[at],
            {name: c[at] for name, c in self.codes.items()},
            tuple(self.texts[i] for i in at.tolist()),
        )

    def counterfactual(self, index: Sequence[int] | Ints, do: Mapping[str, str], *, estimand: Estimand = "total") -> tuple[str, ...]:
        """Exact counterfactual texts: keep noise and style, set the concepts, propagate, render again.

        Args:
            index: (m,) rows.
            do: concept to value.
            estimand: "total" (default) lets the effects of what was set follow; "direct" holds every other concept at its factual value.

        Returns:
            m texts.
        """
        at = np.asarray(index, dtype=np.int64)
        set_to = {name: np.full(len(at), self._code(name, value)) for name, value in do.items()}
        if estimand == "direct":
            set_to = {name: self.codes[name][at] for name in self.renderer.told if name not in set_to} | set_to
        elif estimand != "total":
            raise OptionError(f'estimand: expected "total" or "direct", got {estimand!r}')
        codes = self.model.solve({name: e[at] for name, e in self.noise.items()}, set_to)
        return render(self.renderer, codes, self.style[at])

    def paraphrase(self, index: Sequence[int] | Ints, concept: str, *, wording: int = 1) -> tuple[str, ...]:
        """The texts with one concept told in other words and every value kept.

        Args:
            index: (m,) rows.
            concept: what is told otherwise.
            wording: how many wordings further. Default 1.

        Returns:
            m texts.
        """
        at = np.asarray(index, dtype=np.int64)
        self._code(concept, self.model[concept].values[0])
        style = self.style[at]
        style[:, self.renderer.told.index(concept) * SLOTS + 1] += wording
        return render(self.renderer, {name: codes[at] for name, codes in self.codes.items()}, style)

    def _code(self, concept: str, value: str) -> int:
        values = self.model[concept].values
        if concept not in self.renderer.told or value not in values:
            raise OptionError(
                f"do: expected a concept of {self.renderer.told} and one of its values, got {concept}={value!r} (values {values})"
            )
        return values.index(value)


def render(renderer: Renderer, codes: Mapping[str, Ints], style: Ints) -> tuple[str, ...]:
    """The texts of all rows."""
    columns = [codes[name].tolist() for name in renderer.told]
    return tuple(
        renderer(dict(zip(renderer.told, row, strict=True)), voice)
        for row, voice in zip(zip(*columns, strict=True), style.tolist(), strict=True)
    )


def sample(name: str, model: StructuralModel, renderer: Renderer, n: int, seed: int) -> ConceptData:
    """n rows with different texts: a row whose text is taken gets another style."""
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise OptionError(f"n: expected a positive integer, got {n!r}")
    rng = generator(seed, "datasets", name)
    noise = model.draw(rng, int(n))
    codes = model.solve(noise)
    style = rng.integers(0, 2**31, size=(int(n), SLOTS * (len(renderer.told) + 1)))
    while True:
        texts = render(renderer, codes, style)
        _, first = np.unique(np.array(texts, dtype=object), return_index=True)
        again = np.setdiff1d(np.arange(int(n)), first)
        if not len(again):
            return ConceptData(name, model, renderer, noise, style, codes, texts)
        style[again] = rng.integers(0, 2**31, size=(len(again), style.shape[1]))
