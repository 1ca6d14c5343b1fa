"""What every source of counterfactuals speaks: LLMs, structural models, matchers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from whybox.concepts._graph import Estimand
from whybox.errors import InputError
from whybox.explanations.counterfactuals import Counterfactuals
from whybox.typing import Floats, Ints


@runtime_checkable
class CounterfactualSource(Protocol):
    """Gives counterfactuals of texts. A call leaves the source as it was."""

    @property
    def estimand(self) -> Estimand:
        """Which effect its counterfactuals stand for."""

    def counterfactuals(
        self, texts: Sequence[str], concept: str, *, to: str, k: int = 1, seed: int = 0, current: Sequence[str | None] | None = None
    ) -> Counterfactuals:
        """k counterfactuals of each text in which the concept has the value ``to``.

        Args:
            texts: n originals.
            concept: what is set.
            to: its new value.
            k: how many for each text. Default 1.
            seed: of whatever is drawn. Default 0.
            current: the concept's value in each text, None where it is not known; None (default) lets the source find out.

        Returns:
            Counterfactuals of all n texts, at most k edits a text; invalid ones marked. A text that already has the value gets no edit.
        """


@runtime_checkable
class Paraphraser(Protocol):
    """A source that can also rewrite a text with every concept kept."""

    def paraphrases(
        self, texts: Sequence[str], concept: str, *, k: int = 1, seed: int = 0, current: Sequence[str | None] | None = None
    ) -> Counterfactuals:
        """k edits of each text of the kind that an intervention on the concept makes, which keep its value."""


Ask = Callable[[Sequence[str]], Floats]


@dataclass(frozen=True)
class Estimates:
    """Effects of one intervention, as an estimator found them.

    Args:
        counterfactuals: the texts that the estimate rests on; no edits where it rests on none.
        original: (p,) positions of the texts that have an estimate, each at most once.
        source_values: (p,) the concept's value in each, None if it is not known.
        effects: (p, k) estimates, one a model output.

    Example:
        >>> import numpy as np
        >>> from whybox.explanations import Counterfactuals
        >>> none = Counterfactuals(texts=("Good soup.",), edits=(), source="nobody", estimand="direct")
        >>> Estimates(none, np.array([0]), ("Positive",), np.zeros((1, 2))).effects.shape
        (1, 2)
    """

    counterfactuals: Counterfactuals
    original: Ints
    source_values: tuple[str | None, ...]
    effects: Floats


@runtime_checkable
class EffectEstimator(Protocol):
    """Estimates effects by more, or other, than the mean over counterfactual texts. A call leaves the estimator as it was."""

    @property
    def estimand(self) -> Estimand:
        """Which effect it estimates."""

    @property
    def default_k(self) -> int:
        """How many counterfactuals a text it takes unless told."""

    def estimate(
        self,
        ask: Ask,
        texts: Sequence[str],
        concept: str,
        *,
        to: str,
        k: int = 1,
        seed: int = 0,
        current: Sequence[str | None] | None = None,
    ) -> Estimates:
        """Effects of setting the concept in each text.

        Args:
            ask: the explained model: texts to outputs (n, k). A text that was asked before in the same explanation costs nothing.
            texts: n originals.
            concept: what is set.
            to: its new value.
            k: counterfactuals a text. Default 1.
            seed: of whatever is drawn. Default 0.
            current: the concept's value in each text, None where it is not known; None (default) lets the estimator find out.

        Returns:
            Estimates for the texts that do not have the value already.
        """


def check_texts(texts: Sequence[str]) -> tuple[str, ...]:
    """The texts as a tuple.

    Raises:
        InputError: it is a single text, is empty, or holds something else than texts.
    """
    if isinstance(texts, str):
        raise InputError("texts: expected a sequence of texts, got one text; put it in a list")
    checked = tuple(texts)
    if not checked:
        raise InputError("texts: expected at least one text, got none")
    for i, text in enumerate(checked):
        if not isinstance(text, str):
            raise InputError(f"texts: expected texts, got {type(text).__name__} at position {i}")
    return checked


def check_current(current: Sequence[str | None] | None, n: int, values: Sequence[str]) -> tuple[str | None, ...] | None:
    """The given values, checked against the concept's.

    Raises:
        InputError: another number of them, or a value that the concept does not have.
    """
    if current is None:
        return None
    given = tuple(current)
    if isinstance(current, str) or len(given) != n:
        raise InputError(f"current: expected {n} values, one a text, got {len(given)}")
    if wrong := sorted({str(v) for v in given if v is not None and v not in values}):
        raise InputError(f"current: {wrong} are not values of the concept; its values are {tuple(values)}")
    return given
