"""The candidate pool: texts, the values that they tell, and which of them may answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from whybox.concepts._classifiers import ConceptClassifier, Labels
from whybox.concepts._concept import Concept, by_name
from whybox.concepts._source import check_texts
from whybox.errors import InputError, OptionError
from whybox.typing import Ints


@dataclass(frozen=True)
class CandidatePool:
    """Texts that stand as counterfactuals of others, with the values of their concepts.

    Args:
        texts: m candidates.
        labels: concept to m values; None where a value is not known.
        concepts: what may be asked for; None (default) takes the labels' own names and values.
        classifier: fills in values that are None; None (default) leaves such a text out wherever that value matters.

    Raises:
        InputError: no texts, other numbers of labels, a value that its concept does not have, or a concept without labels.

    Example:
        >>> pool = CandidatePool(["Good soup.", "Bad soup.", "Hm."], {"food": ["+", "-", None]})
        >>> len(pool), pool.candidates("food", "-").tolist(), pool.missing("food")
        (3, [1], 1)
    """

    texts: tuple[str, ...] = field(repr=False)
    labels: Mapping[str, Labels] = field(repr=False)
    concepts: tuple[Concept, ...] = None  # type: ignore[assignment]  # None is resolved below and never seen
    classifier: ConceptClassifier | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "texts", check_texts(self.texts))
        except InputError as error:
            raise InputError(str(error).replace("texts:", "pool:", 1)) from None
        given: Any = self.concepts
        labels = {name: _listed(name, values, len(self.texts)) for name, values in self.labels.items()}
        object.__setattr__(self, "labels", labels)
        concepts = by_name(_own(labels) if given is None else given)
        object.__setattr__(self, "concepts", tuple(concepts.values()))
        for name, concept in concepts.items():
            if name not in labels:
                raise InputError(f"pool: expected labels of the concept {name!r}, got those of {sorted(labels)}")
            if wrong := sorted({str(v) for v in labels[name] if v is not None and v not in concept.values}):
                raise InputError(f"pool: {wrong} are not values of {name!r}; its values are {concept.values}")
        if unknown := sorted(set(labels) - set(concepts)):
            raise InputError(f"pool: labels of {unknown}, which are not concepts; the concepts are {sorted(concepts)}")

    def __len__(self) -> int:
        return len(self.texts)

    def concept(self, name: str) -> Concept:
        """A concept by its name.

        Raises:
            OptionError: there is none.
        """
        found = by_name(self.concepts)
        if name not in found:
            raise OptionError(f"concept: expected one of {sorted(found)}, got {name!r}")
        return found[name]

    @cached_property
    def _codes(self) -> dict[str, Ints]:
        codes = {}
        for concept in self.concepts:
            values = list(self.labels[concept.name])
            gaps = [i for i, v in enumerate(values) if v is None]
            if gaps and self.classifier is not None:
                for i, v in zip(gaps, self.classifier.classify([self.texts[i] for i in gaps], concept.name), strict=True):
                    values[i] = v
            codes[concept.name] = np.array([concept.values.index(v) if v in concept.values else -1 for v in values], dtype=np.int64)
        return codes

    def codes(self, concept: str) -> Ints:
        """(m,) positions of the values among the concept's, -1 where not known (after the classifier)."""
        return self._codes[self.concept(concept).name]

    def missing(self, concept: str) -> int:
        """Candidates whose value of the concept is not known."""
        return int((self.codes(concept) < 0).sum())

    def candidates(self, concept: str, value: str) -> Ints:
        """Positions of the candidates with a value.

        Raises:
            OptionError: the concept does not have the value.
            InputError: no candidate has it.
        """
        asked = self.concept(concept)
        places = np.flatnonzero(self.codes(concept) == asked.values.index(asked.check(value)))
        if not len(places):
            counts = {v: int((self.codes(concept) == i).sum()) for i, v in enumerate(asked.values)}
            raise InputError(
                f"pool: no candidate has {concept}={value!r} (there are {counts}, {self.missing(concept)} without a label); "
                "add texts with this value, or a classifier that labels those without one"
            )
        return places


def _listed(name: str, values: Sequence[str | None], n: int) -> Labels:
    if isinstance(values, str) or len(values) != n:
        raise InputError(f"pool: expected {n} labels of {name!r}, one a text, got {len(values)}; None where a value is not known")
    # a missing value may arrive as NaN from a DataFrame
    return tuple(None if v is None or v != v else v for v in values)  # NaN alone differs from itself


def _own(labels: Mapping[str, Labels]) -> list[Concept]:
    return [Concept(name, tuple(sorted({str(v) for v in values if v is not None}))) for name, values in labels.items()]
