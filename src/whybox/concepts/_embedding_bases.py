"""Where an embedding's training starts: a matrix on the vectors of a base that stays as it is, or a copy of the base itself."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whybox.concepts.encoders import Embedding, Encoder, TransformerEncoder, check_vectors
from whybox.errors import InputError


@dataclass(frozen=True, eq=False)
class ProjectedEncoder:
    """Vectors of another encoder, scaled to length 1 and multiplied by a matrix.

    Args:
        base: any encoder.
        weight: (e, d) the matrix, for base vectors of d dimensions.

    Example:
        >>> lengths = lambda texts: np.array([[len(t), 1.0] for t in texts])
        >>> ProjectedEncoder(lengths, np.eye(2, dtype=np.float32))(["abc"]).round(2)
        array([[0.95, 0.32]], dtype=float32)
    """

    base: Encoder
    weight: Embedding = field(repr=False)

    def __call__(self, texts: Sequence[str]) -> Embedding:
        """(n, e) vectors.

        Raises:
            ShapeError: the base does not give d dimensions.
        """
        vectors = unit(check_vectors(self.base(texts), len(texts), "base"))
        if vectors.shape[1] != self.weight.shape[1]:
            raise InputError(
                f"base: expected vectors of {self.weight.shape[1]} dimensions, got {vectors.shape[1]}; is it the same encoder?"
            )
        projected: Embedding = vectors @ self.weight.T
        return projected


class Frozen:
    """Training a matrix on the vectors of a base that stays as it is."""

    def __init__(self, base: Encoder, texts: Sequence[str], dimension: int, device: Any) -> None:
        import torch

        self._base, self._device = base, device
        self._vectors = unit(check_vectors(base(texts), len(texts), "base"))
        # training starts from the base's own geometry, its principal directions, rather than from a random one
        gram = self._vectors.astype(np.float64).T @ self._vectors.astype(np.float64)
        self._start = np.linalg.eigh(gram)[1][:, ::-1][:, :dimension].T.astype(np.float32)  # (e, d)
        self._inputs = torch.from_numpy(self._vectors).to(device)

    def digest(self) -> str:
        return hashlib.sha256(self._vectors.tobytes()).hexdigest()

    def begin(self) -> tuple[Any, Any, Any]:
        """Modules to be trained, positions to vectors, and the encoder when it is done."""
        import torch

        head = torch.nn.Linear(self._start.shape[1], self._start.shape[0], bias=False, device="meta").to_empty(device="cpu")
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(self._start.copy()))
        head = head.to(self._device)
        return (
            torch.nn.ModuleDict({"head": head}),
            lambda at: head(self._inputs[torch.from_numpy(at).to(self._device)]),
            lambda: ProjectedEncoder(self._base, head.weight.detach().cpu().numpy().copy()),
        )


class Tuned:
    """Training a copy of the base itself."""

    def __init__(self, base: TransformerEncoder, texts: Sequence[str], device: Any) -> None:
        self._base, self._device = base, device
        self._tokens, self._cut = base.tokens(texts)

    def digest(self) -> str:
        from whybox.models.torch import TorchCall

        return TorchCall(self._base.model).fingerprint()

    def begin(self) -> tuple[Any, Any, Any]:
        import torch

        mine = replace(self._base, model=copy.deepcopy(self._base.model).to(self._device))
        mine.model.requires_grad_(True)
        return torch.nn.ModuleDict({"base": mine.model}), lambda at: mine.forward([self._tokens[i] for i in at.tolist()]), lambda: mine


def unit(vectors: NDArray[Any]) -> Embedding:
    """Rows scaled to length 1; rows of zeros stay zeros."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Embedding = (vectors / np.where(norms > 0, norms, 1.0)).astype(np.float32, copy=False)
    return scaled
