"""Texts by their words, tokens, sentences or passages: what may be left out, and what then stands in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from whybox._arrays import is_frame, is_numpy, is_series
from whybox.errors import InputError, OptionError
from whybox.spaces._split import Spans, cluster_spans, passage_spans, sentence_spans, word_spans
from whybox.spaces._text_bound import CutText, TextBound, cut
from whybox.typing import Model

Splitter = Callable[[str], Iterable[tuple[int, int]]]


@dataclass(frozen=True)
class Words:
    """A text's words, one feature each; emoji are words, punctuation is not.

    A word that is left out goes with the white space before it (the first word with the white space after it), so that "The food was
    good" without its second word reads "The was good"; punctuation stays. With ``fill`` the word is replaced and all else stays. Where
    everything is kept, the model is called with the text itself, to the byte.

    Words follow Unicode's default boundaries (UAX #29): combining marks stay with their letter, an emoji is one word with all that
    belongs to it, "it's" and "3.14" are one word, "well-made" is two. Languages that are written without spaces are cut sign by sign;
    pass a ``splitter`` for their words.

    Args:
        splitter: text to (start, end) positions of its parts, in order and apart; None (default) finds words.
        fill: "" (default) leaves words out; a text, such as a model's mask token or "...", stands in for each. Several texts are averaged
            over, each at the cost of a query.
        punctuation: runs of a punctuation sign are features too. Default False.

    Raises:
        OptionError: the splitter cannot be called, or the fill is no text.

    Source: Ribeiro, Singh and Guestrin 2016 (words left out); Unicode Standard Annex 29.

    Example:
        >>> bound = Words().bind(["Good food, bad service \U0001f621"], None)
        >>> bound.feature_names(0) == ("Good", "food", "bad", "service", "\U0001f621")
        True
    """

    splitter: Splitter | None = None
    _: KW_ONLY
    fill: str | Sequence[str] = ""
    punctuation: bool = False

    def __post_init__(self) -> None:
        _fills(self.fill)
        if self.splitter is not None and (not callable(self.splitter) or isinstance(self.splitter, type)):
            raise OptionError(f"splitter: expected a function from a text to (start, end) positions, got {self.splitter!r}")

    def bind(self, x: Any, model: Model | None) -> TextBound:
        """Cut every text."""
        texts = as_texts(x, model)
        if self.splitter is not None:
            cuts = [cut(text, checked(text, self.splitter(text), i)) for i, text in enumerate(texts)]
        else:
            cuts = [cut(text, word_spans(text, punctuation=self.punctuation)) for text in texts]
        return TextBound(cuts, _fills(self.fill), "words", nested=_nested)


@dataclass(frozen=True)
class Tokens:
    """A text's tokens as a Hugging Face fast tokenizer cuts it, one feature each.

    Tokens that together make up one character (an emoji of several byte tokens) are one feature, and white space belongs to none.

    Args:
        tokenizer: a fast tokenizer, such as ``AutoTokenizer.from_pretrained(...)``.
        fill: "" (default) leaves tokens out with the white space before them; ``tokenizer.mask_token`` masks them. See :class:`Words`.

    Raises:
        OptionError: the tokenizer cannot say where its tokens lie.

    Example:
        >>> class Tokenizer:  # stands for AutoTokenizer.from_pretrained("distilbert-base-uncased")
        ...     is_fast = True
        ...
        ...     def __call__(self, text, **_):
        ...         return {"offset_mapping": [(0, 4), (4, 7), (8, 12)]}
        >>> Tokens(Tokenizer()).bind(["walking away"], None).feature_names(0)
        ('walk', 'ing', 'away')
    """

    tokenizer: Any
    _: KW_ONLY
    fill: str | Sequence[str] = ""

    def __post_init__(self) -> None:
        _fills(self.fill)
        if not callable(self.tokenizer) or not getattr(self.tokenizer, "is_fast", False):
            name = type(self.tokenizer).__name__
            raise OptionError(f"tokenizer: expected a fast tokenizer of Hugging Face transformers, which knows positions, got {name}")

    def bind(self, x: Any, model: Model | None) -> TextBound:
        """Tokenize every text."""
        texts = as_texts(x, model)
        cuts = [cut(text, cluster_spans(text, self._spans(text))) for text in texts]
        return TextBound(cuts, _fills(self.fill), f"tokens {getattr(self.tokenizer, 'name_or_path', '')}", nested=_nested)

    def _spans(self, text: str) -> Spans:
        found = self.tokenizer(text, return_offsets_mapping=True, add_special_tokens=False, truncation=False, verbose=False)
        return [(int(start), int(stop)) for start, stop in found["offset_mapping"] if stop > start]


@dataclass(frozen=True)
class Sentences:
    """A text's sentences, one feature each. A line end ends a sentence.

    Args:
        fill: as of :class:`Words`.

    Example:
        >>> Sentences().bind(["Dr. No was good. It was cheap."], None).feature_names(0)
        ('Dr. No was good.', 'It was cheap.')
    """

    _: KW_ONLY
    fill: str | Sequence[str] = ""

    def __post_init__(self) -> None:
        _fills(self.fill)

    def bind(self, x: Any, model: Model | None) -> TextBound:
        """Cut every text."""
        return TextBound([cut(text, sentence_spans(text)) for text in as_texts(x, model)], _fills(self.fill), "sentences")


@dataclass(frozen=True)
class Passages:
    """A text's passages, one feature each: whole sentences, about so many words together. For long texts.

    Args:
        words: the most words of a passage. Default 100.
        fill: as of :class:`Words`.

    Raises:
        OptionError: fewer than one word.

    Example:
        >>> Passages(words=3).bind(["One two. Three. Four five six."], None).feature_names(0)
        ('One two. Three.', 'Four five six.')
    """

    words: int = 100
    _: KW_ONLY
    fill: str | Sequence[str] = ""

    def __post_init__(self) -> None:
        _fills(self.fill)
        if isinstance(self.words, bool) or not isinstance(self.words, (int, np.integer)) or self.words < 1:
            raise OptionError(f"words: expected a whole number of at least 1, got {self.words!r}")

    def bind(self, x: Any, model: Model | None) -> TextBound:
        """Cut every text."""
        cuts = [cut(text, passage_spans(text, int(self.words))) for text in as_texts(x, model)]
        return TextBound(cuts, _fills(self.fill), f"passages of {self.words}")


def as_texts(x: Any, model: Model | None) -> list[str]:
    """The texts to be explained.

    Raises:
        InputError: one text instead of several, something that is no text, or a model of columns.
    """
    if isinstance(x, (str, bytes)):
        raise InputError("x: expected several texts, got one; pass [text]")
    if is_frame(x):
        raise InputError(
            f"x: expected texts, got a DataFrame with columns {list(x.columns)[:5]}; pass x[column], or space=Fields({{column: Words()}})"
        )
    if is_numpy(x) and x.ndim != 1:
        raise InputError(f"x: expected a sequence of texts, got an array of shape {x.shape}; pass one text a row, such as x.ravel()")
    if not (is_numpy(x) or is_series(x) or isinstance(x, Sequence) or hasattr(type(x), "__array__")):
        raise InputError(f"x: expected a list, array or Series of texts, got {type(x).__name__}; pass [text, ...]")
    texts = list(x)
    if not texts:
        raise InputError("x: expected at least one text, got none")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"x: expected texts, got {type(text).__name__} ({text!r:.40}) in row {i}; drop the row or fill it")
    if model is not None and model.wants_frame:
        raise InputError(
            f"{model.name}: was fitted on a table with columns {list(model.feature_names or ())[:5]}; explain it with space=Fields(...)"
        )
    return [str(text) for text in texts]


def checked(text: str, found: Iterable[tuple[int, int]], row: int) -> Spans:
    """What a user's splitter found.

    Raises:
        InputError: no pairs of positions, outside of the text, empty, overlapping or out of order.
    """
    spans: Spans = []
    done = 0
    for item in found:
        try:
            start, stop = (int(position) for position in item)
        except (TypeError, ValueError):
            raise InputError(f"splitter: expected (start, end) positions, got {item!r} for row {row}") from None
        if not done <= start < stop <= len(text):
            raise InputError(
                f"splitter: expected positions in order, apart and within the {len(text)} characters of row {row}, got {(start, stop)} "
                f"after {done}"
            )
        spans.append((start, stop))
        done = stop
    return spans


def _fills(fill: Any) -> tuple[str, ...]:
    fills = (fill,) if isinstance(fill, str) else tuple(fill) if isinstance(fill, Sequence) else ()
    if not fills or not all(isinstance(one, str) for one in fills):
        raise OptionError(f'fill: expected "" (leave out), a text that stands in, or several such texts, got {fill!r}')
    return fills


def _nested(one: CutText) -> list[Any]:
    """Positions of a text's words as passages of sentences of words."""
    starts = one.spans[:, 0]
    sentences = sentence_spans(one.text)
    inside = np.searchsorted([start for start, _ in sentences], starts, side="right") if sentences else np.zeros(one.d, dtype=np.int64)
    passages = [start for start, _ in passage_spans(one.text, 100)]
    about = np.searchsorted(passages, starts, side="right") if passages else np.zeros(one.d, dtype=np.int64)
    tree: list[Any] = []
    for p in np.unique(about).tolist():
        here = np.flatnonzero(about == p)
        tree.append([here[inside[here] == s].tolist() for s in np.unique(inside[here]).tolist()])
    return tree
