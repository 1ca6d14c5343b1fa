"""What a model and its tokenizer say about lengths, padding and themselves."""

from __future__ import annotations

import hashlib
import json
from typing import Any

_NO_LIMIT = 10**9  # transformers writes a number of 30 digits where a tokenizer has no limit


def context_length(model: Any, tokenizer: Any) -> int | None:
    """The most tokens of one row, special tokens included: the tokenizer's limit or the model's positions, the smaller; None without any.

    Position tables that begin after a padding row (RoBERTa's) are that much shorter than they look.
    """
    limits = [getattr(tokenizer, "model_max_length", None)]
    config = model.config.get_text_config() if callable(getattr(model.config, "get_text_config", None)) else model.config
    positions = getattr(config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        skipped = 0
        for name, module in model.named_modules():
            if name.endswith(("position_embeddings", "embed_positions")) and getattr(module, "padding_idx", None) is not None:
                skipped = int(module.padding_idx) + 1
        limits.append(positions - skipped)
    known = [int(limit) for limit in limits if isinstance(limit, int) and 0 < limit < _NO_LIMIT]
    return min(known, default=None)


def pad_token(model: Any, tokenizer: Any) -> int | None:
    """The token that fills rows up: the model's own, which some models look for in their input, else the tokenizer's."""
    own = getattr(model.config, "pad_token_id", None)
    found = tokenizer.pad_token_id if own is None else own
    return None if found is None else int(found)


def tokenizer_digest(tokenizer: Any) -> str:
    """Hash of a Hugging Face tokenizer: vocabulary, normaliser and splitting; not its padding and truncation, which calls change."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        told = json.loads(backend.to_str())
        content = json.dumps({key: told[key] for key in sorted(told) if key not in ("padding", "truncation")}, sort_keys=True)
    else:
        content = repr(sorted(tokenizer.get_vocab().items()))
    return hashlib.sha256(f"{type(tokenizer).__qualname__}\n{content}".encode()).hexdigest()
