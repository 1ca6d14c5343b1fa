"""Which passages of a text tell a concept, and which value: learnt from labels of whole texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from whybox.concepts._classifiers import Labels
from whybox.concepts._logistic import Logistic
from whybox.concepts._neighbors import unit_vectors
from whybox.concepts._passages import WORDS, Split, checked_split, clauses
from whybox.concepts._source import check_texts
from whybox.errors import InputError, OptionError
from whybox.typing import Floats, Ints

_SILENT = "\x00says nothing"  # the class of passages that do not tell the concept
_SURE = 0.7  # a passage as likely as this is one more that tells the value
_NEVER = -30.0  # log-probability of what cannot be


@dataclass(frozen=True)
class PassageReader:
    """Finds the passages that tell a concept; made by :meth:`fit`.

    Args:
        vectorizer: of words, word pairs and parts of words, fitted on the texts.
        models: a concept's classifier of passages: its values and a class for passages that do not tell it.
        not_told: the value that says that a text does not tell the concept, where a concept has it.
        split: text to passages, which joined give the text again.

    Example:
        >>> texts = ["Good soup. The waiter smiled.", "Bad soup. The waiter smiled.", "Good rice. He was rude.", "Bad rice. He was rude."]
        >>> reader = PassageReader.fit(texts, {"food": ["+", "-", "+", "-"]})
        >>> reader.classify(["He was rude. Good fish."], "food")
        ('+',)
    """

    vectorizer: Any = field(repr=False)
    models: Mapping[str, Logistic] = field(repr=False)
    not_told: str | None = "unknown"
    split: Split = field(default=clauses, repr=False)

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        labels: Mapping[str, Sequence[str | None]],
        *,
        not_told: str | None = "unknown",
        split: Split = clauses,
        rounds: int = 2,
        strength: float = 10.0,
        encoder: Callable[[list[str]], Any] | None = None,
    ) -> PassageReader:
        """Learn from labels of whole texts.

        A classifier of texts points at the passage of each text that tells the label most clearly; a classifier of passages is fitted to
        these, all others as silent; it points again.

        Args:
            texts: n texts.
            labels: concept to n values; texts with None are left out for that concept.
            not_told: the value that says that a text does not tell the concept; None if every text tells every concept. Default "unknown".
            split: text to passages. Default: clauses.
            rounds: how often passages are pointed at. Default 2.
            strength: inverse of the penalty on the coefficients. Default 10.
            encoder: texts to (n, e) vectors that are read beside the words, such as a :class:`TransformerEncoder`, which knows words that
                the labelled texts do not have; None (default): words alone.

        Raises:
            InputError: lengths differ, or a concept has fewer than two values.

        Source: multiple-instance learning by alternation, as in Andrews, Tsochantaridis and Hofmann, NeurIPS 2002 (mi-SVM).
        """
        if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
            raise OptionError(f"rounds: expected a positive integer, got {rounds!r}")
        checked = check_texts(texts)
        pieces = [checked_split(split, text) for text in checked]
        owner = np.repeat(np.arange(len(checked)), [len(p) for p in pieces])
        said, which = np.unique(np.array([piece for p in pieces for piece in p], dtype=object), return_inverse=True)  # each once
        vectorizer = _vectorizer(len(checked), encoder)
        try:
            passages = vectorizer.fit(checked).transform(said.tolist())
        except ValueError as error:
            raise InputError(f"texts: expected texts with words, found none in {len(checked)} texts") from error
        whole = vectorizer.transform(checked)
        silenced: dict[str, list[str | None]] = {}
        for concept, values in labels.items():
            if isinstance(values, str) or len(values) != len(checked):
                raise InputError(f"labels of {concept!r}: expected {len(checked)}, one a text, got {len(values)}")
            if len({v for v in values if v is not None}) < 2:
                raise InputError(f"labels of {concept!r}: expected at least two different values, got {sorted({str(v) for v in values})}")
            silenced[concept] = [_SILENT if v == not_told else v for v in values]
        models = _fit(whole, passages, owner, which, silenced, rounds, strength)
        return cls(vectorizer, models, not_told, split)

    def pieces(self, text: str) -> list[str]:
        """The passages of a text."""
        return checked_split(self.split, text)

    def read(self, passages: Sequence[str], concept: str) -> tuple[Floats, tuple[str, ...]]:
        """(n, v) probabilities that a passage tells each of the concept's values, and the values; what is missing to 1: it tells none.

        Raises:
            OptionError: the concept was not fitted.
        """
        if concept not in self.models:
            raise OptionError(f"concept: expected one of {sorted(self.models)}, got {concept!r}")
        model = self.models[concept]
        told = [i for i, value in enumerate(model.values) if value != _SILENT]
        values = tuple(model.values[i] for i in told)
        if not len(passages):
            return np.zeros((0, len(told))), values
        return model.probabilities(self.vectorizer.transform(list(passages)))[:, told], values

    def clearest(self, texts: Sequence[str]) -> dict[str, Floats]:
        """Each concept to (n, v + 1): each value's probability in the passage that tells it most clearly; and that no passage tells any."""
        pieces = [self.pieces(text) for text in texts]
        at = {piece: i for i, piece in enumerate(dict.fromkeys(piece for p in pieces for piece in p))}
        features = self.vectorizer.transform(list(at)) if at else None
        found = {}
        for concept, model in self.models.items():
            told = [i for i, value in enumerate(model.values) if value != _SILENT]
            said = np.zeros((len(pieces), len(told) + 1))
            said[:, -1] = 1.0
            if features is not None:
                probability = model.probabilities(features)[:, told]
                for row, p in zip(said, pieces, strict=True):
                    if p:
                        mine = probability[[at[piece] for piece in p]]
                        row[:-1], row[-1] = mine.max(axis=0), 1.0 - mine.sum(axis=1).max()
            found[concept] = said
        return found

    def classify(self, texts: Sequence[str], concept: str) -> Labels:
        """The value that the clearest passage tells; where none tells any, the value ``not_told``, or the likeliest if there is no such."""
        pieces = [self.pieces(text) for text in texts]
        probability, values = self.read([piece for p in pieces for piece in p], concept)
        found: list[str | None] = []
        start = 0
        for p in pieces:
            rows = probability[start : start + len(p)]
            start += len(p)
            silent = not len(rows) or rows.sum(axis=1).max() <= 0.5
            if silent and self.not_told is not None and _SILENT in self.models[concept].values:
                found.append(self.not_told)
            else:
                found.append(values[int(rows.max(axis=0).argmax())] if len(rows) else None)
        return tuple(found)


@dataclass(frozen=True)
class _Encoded:
    """An encoder's vectors of length 1, as a transformer of scikit-learn.

    Args:
        encoder: texts to (n, e) vectors.
    """

    encoder: Callable[[list[str]], Any]

    def fit(self, texts: Sequence[str], y: Any = None) -> _Encoded:  # noqa: ARG002  # scikit-learn's signature
        """Nothing to learn."""
        return self

    def transform(self, texts: Sequence[str]) -> Any:
        """(n, e) sparse matrix, as the others are."""
        from scipy.sparse import csr_matrix

        return csr_matrix(unit_vectors(self.encoder(list(texts)), len(texts)).astype(np.float64))


def _vectorizer(n: int, encoder: Callable[[list[str]], Any] | None) -> Any:
    """Words, word pairs and parts of words, which tell as much where a word is rare, inflected or misspelt; and an encoder's vectors."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import FeatureUnion

    words = TfidfVectorizer(ngram_range=(1, 2), **WORDS, min_df=2 if n > 50 else 1)
    parts = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, min_df=3 if n > 50 else 1)
    encoded = [] if encoder is None else [("encoded", _Encoded(encoder))]
    return FeatureUnion([("words", words), ("parts", parts), *encoded])


def _fit(
    whole: Any,
    passages: Any,
    owner: Ints,
    which: Ints,
    values: Mapping[str, Sequence[str | None]],
    rounds: int,
    strength: float,
) -> dict[str, Logistic]:
    """The classifiers of passages of all concepts."""
    models = {}
    for concept, given in values.items():
        known = np.array([v is not None for v in given])
        models[concept] = Logistic.fit(whole[known], [v for v in given if v is not None], strength=strength)
    for _ in range(rounds):
        probability = {concept: model.probabilities(passages)[which] for concept, model in models.items()}
        labels = {concept: np.array([v or "" for v in given], dtype=object)[owner] for concept, given in values.items()}
        logs = {concept: _logs(probability[concept], models[concept].values, labels[concept]) for concept in values}
        for concept, label in labels.items():
            mine = logs[concept]
            others = [logs[other] for other in values if other != concept]
            # a passage that tells another concept as clearly tells this one by correlation only
            clear = 1.5 * mine - 0.5 * (np.max(others, axis=0) if others else 0.0)
            models[concept] = _again(models[concept], passages, which, owner, label, probability[concept], mine, clear, strength)
    return models


def _logs(probability: Floats, values: Sequence[str], label: Any) -> Floats:
    """(p,) log-probability of each passage's text's label; very small where the text has none or does not tell the concept."""
    found = np.full(len(label), _NEVER)
    for i, value in enumerate(values):
        if value != _SILENT:
            found[label == value] = np.log(np.maximum(probability[label == value, i], 1e-12))
    return found


def _again(
    model: Logistic, passages: Any, which: Ints, owner: Ints, label: Any, probability: Floats, mine: Floats, clear: Floats, strength: float
) -> Logistic:
    """Point at the clearest passage of each text, and fit to what was pointed at."""
    order = np.lexsort((-clear, owner))
    clearest = np.zeros(len(owner), dtype=bool)
    clearest[order[np.r_[True, owner[order][1:] != owner[order][:-1]]]] = True
    told = (mine > _NEVER) & clearest
    silent = np.ones(len(owner), dtype=bool)
    if _SILENT in model.values:
        told |= mine > np.log(_SURE)
        silent = probability[:, model.values.index(_SILENT)] > 0.5
    use = (label != "") & (told | (label == _SILENT) | silent)  # passages that may tell it or not teach nothing
    counts = Counter(zip(which[use].tolist(), np.where(told, label, _SILENT)[use].tolist(), strict=True))
    return Logistic.fit(passages[[i for i, _ in counts]], [value for _, value in counts], strength=strength, weights=list(counts.values()))
