"""Several encoders as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whybox.concepts._embedding_bases import unit
from whybox.concepts.encoders import Embedding, Encoder, check_vectors
from whybox.errors import OptionError


@dataclass(frozen=True)
class FusedEncoder:
    """The vectors of several encoders side by side, each scaled to length 1 first: cosines of the whole are weighted means of theirs.

    Such as a sentence encoder with what classifiers say of the concepts, or with what the explained model says; alone, or as the base of a
    causal embedding.

    Args:
        encoders: at least one.
        weights: shares of the cosine, positive; None (default) weighs all alike.

    Raises:
        OptionError: there is no encoder, or weights do not fit.

    Example:
        >>> lengths = lambda texts: np.array([[len(t)] for t in texts])
        >>> words = lambda texts: np.array([[t.count("a"), t.count("b")] for t in texts])
        >>> FusedEncoder((lengths, words), weights=(1.0, 3.0))(["aab"]).round(3)
        array([[0.5  , 0.775, 0.387]], dtype=float32)
    """

    encoders: tuple[Encoder, ...]
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "encoders", tuple(self.encoders))
        if not self.encoders or not all(callable(encoder) for encoder in self.encoders):
            raise OptionError(f"encoders: expected at least one encoder, got {[type(e).__name__ for e in self.encoders]}")
        if self.weights is None:
            return
        object.__setattr__(self, "weights", tuple(self.weights))
        if len(self.weights) != len(self.encoders) or not all(np.isfinite(w) and w > 0 for w in self.weights):
            raise OptionError(f"weights: expected {len(self.encoders)} positive numbers, one an encoder, got {self.weights!r}")

    def __call__(self, texts: Sequence[str]) -> Embedding:
        """(n, e) vectors, e the sum of the parts' dimensions."""
        shares = np.array(self.weights or [1.0] * len(self.encoders))
        scales = np.sqrt(shares / shares.sum())
        parts = [unit(check_vectors(encoder(texts), len(texts), f"encoder {i}")) for i, encoder in enumerate(self.encoders)]
        return np.concatenate([part * np.float32(scale) for part, scale in zip(parts, scales, strict=True)], axis=1)
