"""Counterfactual texts: every edit with its validity and its reason, the model's outputs before and after, and the cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whybox.errors import InputError, OptionError, ShapeError
from whybox.explanations import _edit_files, _edit_views
from whybox.explanations._check import plain
from whybox.explanations._words import edit_distance, words
from whybox.typing import Bools, Floats, Ints

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Failure:
    """Why an edit is not valid.

    Args:
        check: name of the check, such as "unchanged".
        why: what was found, in words.

    Example:
        >>> Failure("unchanged", "the text was not changed").check
        'unchanged'
    """

    check: str
    why: str


@dataclass(frozen=True)
class Edit:
    """One counterfactual of one text.

    Args:
        original: position of the original among the texts.
        concept: what was set; None where the edit sets no concept (a flip of the label).
        source_value: the concept's value in the original, None if it is not known.
        target: the value that was asked for.
        sample: number of the edit among the k of this original and intervention.
        text: the edited text; may be empty if it is invalid.
        failures: why it is invalid; empty if it is valid.
        attempts: replies that were asked for, repairs included.
        similarity: cosine of embeddings of original and edit, if one was asked for.
        notes: what else the source tells, such as the words that it changed; JSON values, with lists in the place of tuples.

    Raises:
        SchemaError: notes hold what JSON does not.

    Example:
        >>> Edit(0, "food", "Positive", "Negative", 0, "Bad soup.").valid
        True
    """

    original: int
    concept: str | None
    source_value: str | None
    target: str
    sample: int
    text: str
    failures: tuple[Failure, ...] = ()
    attempts: int = 1
    similarity: float | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "notes", plain("notes", self.notes) if self.notes else {})

    @property
    def valid(self) -> bool:
        """Whether every check passed."""
        return not self.failures


@dataclass(frozen=True)
class GenerationCost:
    """What the edits cost.

    Args:
        requests: requests sent, repetitions included.
        replies: replies used.
        cache_hits: replies that cost nothing: found in the cache, or of a prompt that was asked twice.
        prompt_tokens: tokens sent, as far as anybody counted.
        reply_tokens: tokens received.
        seconds: wall seconds.

    Example:
        >>> (GenerationCost(requests=3) + GenerationCost(requests=2, cache_hits=1)).requests
        5
    """

    requests: int = 0
    replies: int = 0
    cache_hits: int = 0
    prompt_tokens: int = 0
    reply_tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: GenerationCost) -> GenerationCost:
        """Both together."""
        return GenerationCost(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Counterfactuals:
    """Counterfactual edits of n texts.

    Invalid edits are here too, marked with their reasons; ``valid`` tells them apart, and nothing computed from a Counterfactuals counts
    them as valid.

    Args:
        texts: the n originals.
        edits: m edits, each with the position of its original.
        source: what made them, such as "LLMCounterfactuals".
        estimand: "total" or "direct" effect of the concept; None where no concept is set.
        cost: of the whole call that made them; a slice keeps it.
        outputs_before: (n, k) the model's outputs for the originals, or None.
        outputs_after: (m, k) for the edits; NaN for edits that the model was not asked about. None together with outputs_before.
        output_names: names of the k outputs, or None.
        settings: what produced the edits; JSON values, no secrets.

    Raises:
        ShapeError: arrays do not fit texts and edits.
        InputError: an edit's original does not exist.
        SchemaError: settings hold what JSON does not.

    Example:
        >>> edit = Edit(0, "food", "Positive", "Negative", 0, "The food was bad.")
        >>> e = Counterfactuals(texts=("The food was good.",), edits=(edit,), source="by hand", estimand="total")
        >>> e.valid.tolist(), e.distances.tolist()
        ([True], [1])
        >>> print(e.to_text())
        Counterfactuals by hand (total effect): 1 text, 1 edit, 1 valid
        <BLANKLINE>
        text 0, food: Positive -> Negative
          The food was [-good-] {+bad+}.
    """

    texts: tuple[str, ...]
    edits: tuple[Edit, ...]
    source: str
    estimand: str | None = None
    cost: GenerationCost = field(default_factory=GenerationCost)
    outputs_before: Floats | None = None
    outputs_after: Floats | None = None
    output_names: tuple[str, ...] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "texts", tuple(self.texts))
        object.__setattr__(self, "edits", tuple(self.edits))
        object.__setattr__(self, "settings", plain("settings", self.settings))
        if any(not 0 <= edit.original < len(self.texts) for edit in self.edits):
            raise InputError(f"edits: expected positions of originals below {len(self.texts)}")
        if (self.outputs_before is None) != (self.outputs_after is None):
            raise ShapeError("outputs: expected those before and after together, or none")
        if self.outputs_before is None or self.outputs_after is None:
            return
        before, after = _frozen(self.outputs_before), _frozen(self.outputs_after)
        k = before.shape[1] if before.ndim == 2 else -1
        if before.shape != (len(self.texts), k) or after.shape != (len(self.edits), k):
            raise ShapeError(f"outputs: expected ({len(self.texts)}, k) and ({len(self.edits)}, k), got {before.shape} and {after.shape}")
        if self.output_names is not None and len(self.output_names) != k:
            raise ShapeError(f"output_names: expected {k} names, got {len(self.output_names)}")
        object.__setattr__(self, "outputs_before", before)
        object.__setattr__(self, "outputs_after", after)

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[Counterfactuals]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<{_edit_views.headline(self)}>"

    def _repr_html_(self) -> str:
        return self.to_html(max_edits=20)

    @property
    def valid(self) -> Bools:
        """(m,) which edits are valid."""
        return np.array([edit.valid for edit in self.edits], dtype=bool)

    @property
    def distances(self) -> Ints:
        """(m,) words that were inserted, deleted or replaced."""
        split = {i: words(self.texts[i]) for i in {edit.original for edit in self.edits}}
        return np.array([edit_distance(split[edit.original], words(edit.text)) for edit in self.edits], dtype=np.int64)

    @property
    def effects(self) -> Floats:
        """(m, k) change of the outputs by each edit, NaN for invalid edits.

        Raises:
            InputError: the model's outputs are not here; ConceptEffect and with_outputs bring them.
        """
        if self.outputs_before is None or self.outputs_after is None:
            raise InputError("effects: expected the model's outputs; get them by ConceptEffect(model, source).explain(...)")
        change: Floats = self.outputs_after - self.outputs_before[[edit.original for edit in self.edits]]
        change[~self.valid] = np.nan
        return change

    @property
    def flip_rate(self) -> float:
        """Share of edits, the invalid ones in the denominator, that are valid and change the most probable output."""
        if self.outputs_before is None or self.outputs_after is None:
            raise InputError("flip_rate: expected the model's outputs before and after")
        if not self.edits:
            return float("nan")
        before = self.outputs_before[[edit.original for edit in self.edits]]
        known = self.valid & np.isfinite(self.outputs_after).all(axis=1)
        return float((known & (before.argmax(axis=1) != np.nan_to_num(self.outputs_after, nan=-np.inf).argmax(axis=1))).mean())

    def reasons(self) -> dict[str, int]:
        """How many edits failed each check, the most frequent first."""
        return dict(Counter(failure.check for edit in self.edits for failure in edit.failures).most_common())

    def __getitem__(self, index: int | slice | Sequence[int] | NDArray[Any]) -> Counterfactuals:
        """Some originals with their edits; a single one is still a Counterfactuals, of one text."""
        places = np.arange(len(self))[index]
        chosen = [int(i) for i in np.atleast_1d(places)]
        if len(set(chosen)) < len(chosen):
            raise OptionError("index: expected every original at most once")
        new = {old: position for position, old in enumerate(chosen)}
        kept = [j for j, edit in enumerate(self.edits) if edit.original in new]
        kept.sort(key=lambda j: new[self.edits[j].original])
        edits = tuple(replace(self.edits[j], original=new[self.edits[j].original]) for j in kept)
        before = None if self.outputs_before is None else self.outputs_before[chosen]
        return replace(
            self, texts=tuple(self.texts[i] for i in chosen), edits=edits, outputs_before=before, outputs_after=self._after(kept)
        )

    def select(
        self,
        *,
        concept: str | None = None,
        target: str | None = None,
        valid: bool | None = None,
        where: Callable[[Edit], bool] | None = None,
    ) -> Counterfactuals:
        """The same originals with some of the edits.

        Args:
            concept: keep edits of this concept.
            target: keep edits to this value.
            valid: keep the valid or the invalid ones.
            where: keep edits for which this holds.
        """
        kept = [
            j
            for j, edit in enumerate(self.edits)
            if (concept is None or edit.concept == concept)
            and (target is None or edit.target == target)
            and (valid is None or edit.valid is valid)
            and (where is None or where(edit))
        ]
        return replace(self, edits=tuple(self.edits[j] for j in kept), outputs_after=self._after(kept))

    def _after(self, kept: list[int]) -> Floats | None:
        return None if self.outputs_after is None else self.outputs_after[kept]

    def with_outputs(self, before: Floats, after: Floats, names: Sequence[str] | None = None) -> Counterfactuals:
        """The same edits with the model's outputs, (n, k) and (m, k)."""
        return replace(self, outputs_before=before, outputs_after=after, output_names=None if names is None else tuple(names))

    def to_frame(self) -> pd.DataFrame:
        """One row an edit: original, concept, values, text, validity and reasons, distance, outputs before and after."""
        return _edit_views.frame(self)

    def to_text(self, *, max_edits: int | None = None) -> str:
        """A word-level diff in plain text: [-deleted-] {+inserted+}, with reasons and outputs."""
        return _edit_views.text(self, max_edits)

    def to_html(self, *, max_edits: int | None = None) -> str:
        """A word-level diff as an HTML fragment: no script, everything escaped."""
        return _edit_views.html(self, max_edits)

    def save(self, path: str | PathLike[str]) -> None:
        """Write JSON lines: a header, the originals, the edits. Neither the model nor the generator is saved."""
        _edit_files.save(self, path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Counterfactuals:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: it is not such a file, of a newer version, or damaged.
        """
        header, originals, edits = _edit_files.load(path)
        try:
            return _built(header, originals, edits)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path}: damaged: {type(error).__name__}: {error}") from error


def _built(header: dict[str, Any], originals: list[Any], edits: list[Any]) -> Counterfactuals:
    made = tuple(
        Edit(**{**edit["edit"], "failures": tuple(Failure(f["check"], f["why"]) for f in edit["edit"]["failures"])}) for edit in edits
    )
    scored = header["n_outputs"] is not None
    width = header["n_outputs"] or 0
    return Counterfactuals(
        texts=tuple(line["text"] for line in originals),
        edits=made,
        source=header["source"],
        estimand=header["estimand"],
        cost=GenerationCost(**header["cost"]),
        outputs_before=_outputs(originals, width) if scored else None,
        outputs_after=_outputs(edits, width) if scored else None,
        output_names=None if header["output_names"] is None else tuple(header["output_names"]),
        settings=header["settings"],
    )


def _outputs(lines: list[Any], width: int) -> Floats:
    values = [[np.nan if v is None else v for v in line["outputs"]] for line in lines]
    return np.array(values, dtype=np.float64).reshape(len(lines), width)


def _frozen(values: Any) -> Floats:
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array
