"""An encoder that needs nothing but scikit-learn: TF-IDF, reduced by a singular value decomposition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whybox._random import generator
from whybox.concepts._passages import WORDS
from whybox.concepts._source import check_texts
from whybox.errors import InputError, OptionError


@dataclass(frozen=True)
class TfidfEncoder:
    """Texts to vectors by TF-IDF of words and word pairs; made by :meth:`fit`.

    Args:
        vectorizer: a fitted vectorizer.
        components: (e, words) directions that are kept, or None for all words.

    Example:
        >>> encoder = TfidfEncoder.fit(["good soup", "bad soup", "good rice", "bad rice"])
        >>> encoder(["good soup", "fine fish"]).shape
        (2, 3)
    """

    vectorizer: Any = field(repr=False)
    components: NDArray[np.float32] | None = field(default=None, repr=False)

    @classmethod
    def fit(cls, texts: Sequence[str], *, dim: int | None = 256, seed: int = 0) -> TfidfEncoder:
        """Fit on texts.

        Args:
            texts: n texts, such as the pool's.
            dim: length of the vectors, less where texts or words are fewer; None keeps one entry a word and word pair. Default 256.
            seed: of the decomposition. Default 0.

        Raises:
            InputError: no text has a word.
        """
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        if dim is not None and (isinstance(dim, bool) or not isinstance(dim, int) or dim < 1):
            raise OptionError(f"dim: expected a positive integer or None, got {dim!r}")
        checked = check_texts(texts)
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), **WORDS, dtype=np.float32)
        try:
            matrix = vectorizer.fit_transform(checked)
        except ValueError as error:
            raise InputError(f"texts: expected texts with words, found none in {len(checked)} texts") from error
        if dim is None:
            return cls(vectorizer)
        size = min(dim, min(matrix.shape) - 1)
        if size < 1:
            return cls(vectorizer)
        reduced = TruncatedSVD(size, random_state=int(generator(seed, "tfidf encoder").integers(2**31))).fit(matrix)
        return cls(vectorizer, np.asarray(reduced.components_, dtype=np.float32))

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, e) vectors."""
        matrix = self.vectorizer.transform(list(texts))
        if self.components is None:
            return np.asarray(matrix.toarray(), dtype=np.float32)
        return np.asarray(matrix @ self.components.T, dtype=np.float32)
