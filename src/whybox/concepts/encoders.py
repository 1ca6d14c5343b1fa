"""Encoders of texts: any function of texts to vectors is one; here is the one that reads a Hugging Face model."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import is_array, is_out_of_memory, to_numpy
from whybox._random import torch_stream
from whybox.errors import InputError, MissingDependencyError, ModelError, OptionError, ShapeError

if TYPE_CHECKING:
    from torch import Tensor

Embedding = NDArray[np.float32]
Pooling = Literal["mean", "cls"]

# Positions of these models start behind the padding index, so that many of the table's rows are never read.
_OFFSET_POSITIONS = ("camembert", "data2vec-text", "longformer", "mpnet", "roberta", "xlm-roberta", "xlm-roberta-xl")

# On a CPU padding costs as much as text, and eight rows at once are nearly as quick a token as sixty-four.
_ALIKE, _FEW = 0.8, 8


class TruncationWarning(UserWarning):
    """Texts are longer than the encoder reads; their ends had no part in their vectors."""


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into vectors. Any function with this signature is an encoder."""

    def __call__(self, texts: Sequence[str]) -> Embedding:
        """(n, e) vectors of n texts; a text's vector does not depend on its neighbours."""


def check_vectors(vectors: Any, n: int, name: str = "encoder") -> Embedding:
    """The vectors of n texts as a float32 array.

    Args:
        vectors: what an encoder returned, of any array library.
        n: how many texts it was given.
        name: of the encoder, for messages.

    Raises:
        ShapeError: not one vector a text.
        ModelError: a vector holds NaN or an infinite number.
    """
    array = np.asarray(to_numpy(vectors) if is_array(vectors) else vectors)
    if array.ndim != 2 or len(array) != n or array.shape[1] == 0:
        raise ShapeError(f"{name}: expected ({n}, e) vectors, one a text, got an array of shape {array.shape}")
    if array.dtype.kind not in "fiu":
        raise ModelError(f"{name}: expected vectors of numbers, got dtype {array.dtype}")
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        raise ModelError(f"{name}: the vectors of {int(bad.sum())} of {n} texts hold NaN or infinite numbers, first at {int(bad.argmax())}")
    return array.astype(np.float32, copy=False)


@dataclass(frozen=True)
class TransformerEncoder:
    """A Hugging Face encoder whose token vectors are averaged.

    Equal texts are read once; texts are sorted by length, so that little is padded, and on a CPU a batch ends where texts get much
    shorter. Out of memory halves the batch and goes on. The model's
    mode and the tokenizer's settings stay what they are. Batch size and padding move a vector in its last digits only.

    Args:
        model: a loaded encoder, such as from ``AutoModel.from_pretrained(...)``; it stays on its device.
        tokenizer: its tokenizer.
        pooling: "mean" (default) over the text's tokens, or "cls", the first token's vector.
        normalize: scale vectors to length 1. Default False.
        max_tokens: the most tokens of a text that are read; None (default) takes the model's own limit.
        batch_size: texts at once. Default 64.

    Raises:
        OptionError: a size is not a positive integer, or the pooling does not exist.
        InputError: this is not a pair of encoder and tokenizer.

    Example:
        >>> encoder = TransformerEncoder.load("models/all-MiniLM-L6-v2")  # doctest: +SKIP
        >>> encoder(["The food was good.", "The room was loud."]).shape  # doctest: +SKIP
        (2, 384)
    """

    model: Any
    tokenizer: Any
    pooling: Pooling = "mean"
    normalize: bool = False
    max_tokens: int | None = None
    batch_size: int = 64

    def __post_init__(self) -> None:
        for name in ("batch_size", "max_tokens"):
            value = getattr(self, name)
            if not (name == "max_tokens" and value is None) and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise OptionError(f"{name}: expected a positive integer, got {value!r}")
        if self.pooling not in ("mean", "cls"):
            raise OptionError(f'pooling: expected "mean" or "cls", got {self.pooling!r}')
        if not callable(getattr(self.model, "forward", None)) or not hasattr(self.model, "config"):
            raise InputError(f"model: expected a loaded transformers model, got {type(self.model).__name__}; a folder goes to load(path)")
        if not callable(self.tokenizer):
            raise InputError(f"tokenizer: expected the model's tokenizer, got {type(self.tokenizer).__name__}")

    def __repr__(self) -> str:
        return f"TransformerEncoder({type(self.model).__name__}, pooling={self.pooling!r}, max_tokens={self.limit})"

    @classmethod
    def load(
        cls, path: str | PathLike[str], *, device: str | None = None, pooling: Pooling | None = None, batch_size: int = 64
    ) -> TransformerEncoder:
        """Read model and tokenizer from a folder. Nothing is downloaded.

        Where the folder holds the settings of a sentence encoder (``modules.json`` and its kin), pooling, length and normalisation follow
        them.

        Args:
            path: a folder with ``config.json``, weights and tokenizer.
            device: where the model goes, such as "cuda"; None (default) leaves it on the CPU.
            pooling: "mean" or "cls"; None (default) follows the folder, and is "mean" if it does not say.
            batch_size: texts at once. Default 64.

        Raises:
            InputError: the folder does not hold a model, or pools in a way that is not known here.
            MissingDependencyError: transformers is not installed.
        """
        try:
            from transformers import AutoModel, AutoTokenizer
        except ImportError as error:
            raise MissingDependencyError("transformers", "hf", "TransformerEncoder.load") from error
        folder = Path(path)
        if not (folder / "config.json").is_file():
            raise InputError(
                f"{fspath(path)}: expected a folder with config.json, weights and tokenizer; nothing is downloaded here. "
                "Pass the folder of a model, or load model and tokenizer yourself and call TransformerEncoder(model, tokenizer)"
            )
        said = _sentence_settings(folder, pooling)
        with torch_stream(0, "load"):  # weights that the folder lacks, such as a pooler that is not used here, are drawn
            model = AutoModel.from_pretrained(folder, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        if device is not None:
            model = model.to(device)
        return cls(model.eval(), tokenizer, said["pooling"], bool(said.get("normalize")), said.get("max_tokens"), batch_size)

    @property
    def limit(self) -> int | None:
        """The most tokens of a text that are read; None if the model has no limit."""
        config = self.model.config
        positions = getattr(config, "max_position_embeddings", None)
        if positions is not None and getattr(config, "model_type", "") in _OFFSET_POSITIONS:
            positions -= (getattr(config, "pad_token_id", None) or 0) + 1
        known = getattr(self.tokenizer, "model_max_length", None)
        limits = [self.max_tokens, positions, known if known is not None and known < 10**9 else None]
        return min((limit for limit in limits if limit is not None), default=None)

    def tokens(self, texts: Sequence[str]) -> tuple[list[list[int]], int]:
        """Token numbers of each text, cut to the limit, and how many texts were cut."""
        if not texts:
            return [], 0
        full = self.tokenizer(list(texts), add_special_tokens=True, truncation=False, padding=False, verbose=False)["input_ids"]
        limit = self.limit
        long = [i for i, ids in enumerate(full) if limit is not None and len(ids) > limit]
        if long:
            cut = self.tokenizer([texts[i] for i in long], truncation=True, max_length=limit, padding=False)["input_ids"]
            for i, ids in zip(long, cut, strict=True):
                full[i] = ids
        for text, ids in zip(texts, full, strict=True):
            if not ids:
                raise InputError(f"texts: the tokenizer makes no token of {text[:40]!r}; leave it out")
        return full, len(long)

    def forward(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """(n, e) vectors of tokenized texts, as a tensor with gradients where they are on: what a training loop calls."""
        import torch

        width = max(len(ids) for ids in tokens)
        pad = getattr(self.tokenizer, "pad_token_id", None) or 0
        ids = np.full((len(tokens), width), pad, dtype=np.int64)  # (n, tokens)
        mask = np.zeros_like(ids)
        for row, sequence in enumerate(tokens):
            ids[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        device = next(self.model.parameters()).device
        seen = torch.from_numpy(mask).to(device)
        hidden = self.model(input_ids=torch.from_numpy(ids).to(device), attention_mask=seen).last_hidden_state  # (n, tokens, e)
        if self.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            weight = seen.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * weight).sum(dim=1) / weight.sum(dim=1)
        return torch.nn.functional.normalize(pooled, dim=1) if self.normalize else pooled

    def __call__(self, texts: Sequence[str]) -> Embedding:
        """(n, e) vectors, float32 on the host.

        Warns:
            TruncationWarning: texts are longer than what is read; it says how many.

        Raises:
            InputError: a text has no tokens.
            MissingDependencyError: torch is not installed.
        """
        try:
            import torch
        except ImportError as error:
            raise MissingDependencyError("transformers", "hf", "TransformerEncoder") from error
        from whybox._torch import evaluating

        distinct = list(dict.fromkeys(texts))
        tokens, cut = self.tokens(distinct)
        if cut:
            warnings.warn(
                f"{cut} of {len(distinct)} texts are longer than {self.limit} tokens: what comes after is not read",
                TruncationWarning,
                stacklevel=2,
            )
        order = sorted(range(len(distinct)), key=lambda i: (-len(tokens[i]), i))
        found: list[Embedding] = []
        size, start = self.batch_size, 0
        on_cpu = next(self.model.parameters()).device.type == "cpu"
        with evaluating(self.model), torch.inference_mode():
            while start < len(order):
                batch = order[start : start + size]
                if on_cpu:
                    batch = batch[: _alike([len(tokens[i]) for i in batch])]
                try:
                    vectors: Embedding | None = self.forward([tokens[i] for i in batch]).float().cpu().numpy()
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error) or len(batch) == 1:
                        raise
                    vectors, size = None, max(len(batch) // 2, 1)
                if vectors is None:  # outside the handler: the error's traceback holds the batch's tensors
                    if torch.cuda.is_available():
                        torch.cuda.empty_cache()
                    continue
                found.append(vectors)
                start += len(batch)
        if not found:
            return np.zeros((0, int(self.model.config.hidden_size)), dtype=np.float32)
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        at = {text: place[i] for i, text in enumerate(distinct)}
        return check_vectors(np.concatenate(found)[[at[text] for text in texts]], len(texts), repr(self))


def _alike(lengths: Sequence[int]) -> int:
    """How many of the first texts, the longest first, are of like length; a few in any case."""
    least = _ALIKE * lengths[0]
    return next((i for i in range(_FEW, len(lengths)) if lengths[i] < least), len(lengths))


def _sentence_settings(folder: Path, pooling: Pooling | None) -> dict[str, Any]:
    """What the folder of a sentence encoder says of pooling, length and normalisation."""

    def read(name: str) -> Any:
        return json.loads((folder / name).read_text(encoding="utf-8")) if (folder / name).is_file() else None

    said: dict[str, Any] = {"max_tokens": (read("sentence_bert_config.json") or {}).get("max_seq_length"), "pooling": pooling or "mean"}
    for module in read("modules.json") or []:
        kind = str(module.get("type", "")).rsplit(".", 1)[-1]
        if kind == "Pooling" and pooling is None:
            modes = read(f"{module['path']}/config.json") or {}
            on = [name for name, value in modes.items() if name.startswith("pooling_mode_") and value is True]
            known = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
            if len(on) != 1 or on[0] not in known:
                raise InputError(
                    f"{folder}: it pools by {on}; known here are {sorted(known)}. Pass pooling= to choose one of them all the same"
                )
            said["pooling"] = known[on[0]]
        elif kind == "Normalize":
            said["normalize"] = True
        elif kind not in ("Transformer", "Pooling", ""):
            raise InputError(
                f"{folder}: its layer {kind!r} is not known here; wrap the model in a function of texts, which is an encoder too"
            )
    return said
