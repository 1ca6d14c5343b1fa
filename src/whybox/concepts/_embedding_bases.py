"""Where an embedding's training starts: a matrix on the vectors of a base that stays as it is, or a copy of the base itself."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
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
            InputError: the base does not give d dimensions.
        """
        return self.project(unit(check_vectors(self.base(texts), len(texts), "base")))

    def project(self, vectors: Embedding) -> Embedding:
        """(n, e) vectors of base vectors of length 1, (n, d).

        Raises:
            InputError: they have another number of dimensions.
        """
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
        return Retuned.digest(self._base)

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


def together(encoders: Sequence[Encoder], texts: Sequence[str]) -> list[Embedding]:
    """The vectors of several encoders; a base that they share is asked once."""
    known: dict[int, Embedding] = {}
    found = []
    for encoder in encoders:
        if not isinstance(encoder, ProjectedEncoder):
            found.append(encoder(texts))
            continue
        if id(encoder.base) not in known:
            known[id(encoder.base)] = unit(check_vectors(encoder.base(texts), len(texts), "base"))
        found.append(encoder.project(known[id(encoder.base)]))
    return found


class Retuned:
    """Weights of a base that was itself trained, to and from tensors."""

    @staticmethod
    def digest(base: TransformerEncoder) -> str:
        """How the encoder reads a sentence. Not its weights: those of parts that are not used may be drawn anew whenever it is loaded."""
        return f"{np.round(probe(base), 4).tolist()} {base.pooling} {base.normalize} {base.limit}"

    @staticmethod
    def tensors(encoder: TransformerEncoder, prefix: str) -> dict[str, Any]:
        """Its weights by name."""
        return {prefix + key: value for key, value in encoder.model.state_dict().items()}

    @staticmethod
    def load(path: str, base: Encoder, tensors: Mapping[str, Any], prefix: str) -> TransformerEncoder:
        """A copy of the base with these weights.

        Raises:
            InputError: the base is none that they fit.
        """
        if not isinstance(base, TransformerEncoder):
            raise InputError(
                f"{path}: the base itself was trained; pass a TransformerEncoder of its architecture, got {type(base).__name__}"
            )
        model = copy.deepcopy(base.model)
        try:
            model.load_state_dict({key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)})
        except RuntimeError as error:
            raise InputError(f"{path}: its weights do not fit the base: {error}") from error
        return replace(base, model=model.eval())


_PROBE = "The quick brown fox was good, but the service of the lazy dog was bad."


def probe(base: Encoder) -> list[float]:
    """The vector of a fixed sentence, which tells on loading whether the base is the same."""
    values: list[float] = unit(check_vectors(base([_PROBE]), 1, "base"))[0].astype(float).tolist()
    return values


def check_probe(base: Encoder, there: Sequence[float], path: str) -> None:
    """Refuse a base that reads the sentence in another way.

    Raises:
        InputError: it does.
    """
    here = np.array(probe(base))
    if len(here) != len(there) or np.abs(here - np.array(there)).max() > 1e-3:
        raise InputError(f"{path}: was trained on another base; pass the encoder that it was fitted with")


def linear(d: int, e: int, rng: np.random.Generator) -> Any:
    """A linear layer with weights from a generator of ours."""
    import torch

    layer = torch.nn.Linear(d, e, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(rng.uniform(-1, 1, (e, d)) / np.sqrt(d)))
        layer.bias.zero_()
    return layer
