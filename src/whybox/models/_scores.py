"""Log-probabilities of fixed answer tokens after many prompts: right-padded forwards, common beginnings computed once."""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np

from whybox._torch import autocast, dtype_named, evaluating, first_tensor, for_each_bucket, half_precision, padded
from whybox._warn import tell
from whybox.errors import InputError
from whybox.models._heads import only_places
from whybox.models._options import type_name
from whybox.models._prefixes import prefix_groups
from whybox.typing import Floats

_TOKENS_CPU, _TOKENS_CUDA = 4096, 65536  # padded tokens of a forward
_LOGITS_CPU, _LOGITS_CUDA = 1 << 26, 1 << 30  # logits held at once
_LEAST_PREFIX = 16  # tokens: below, a forward of its own costs more than it saves
_GROUP_CPU, _GROUP_CUDA = 64, 8192  # tokens that smaller forwards cost: a GPU wants large ones


class PrefixWarning(UserWarning):
    """A model's cache does not give what a full forward gives; every prompt is computed in full."""


@dataclass(frozen=True)
class AnswerSettings:
    """What :class:`AnswerScores` computes.

    Args:
        model: the language model.
        tokenizer: its tokenizer.
        tokens: the answer.
        special: the tokenizer adds its special tokens to the prompts.
        share_prefix: compute the common beginning of a batch once.
        batch_tokens: padded tokens of a forward, or None.
        dtype: of the matrix products, or None.
        context: the most tokens of prompt and answer, or None.
    """

    model: Any
    tokenizer: Any
    tokens: tuple[int, ...]
    special: bool
    share_prefix: bool
    batch_tokens: int | None
    dtype: Any
    context: int | None


class AnswerScores:
    """Scores prompts; remembers what memory allowed, and whether the model's cache can be trusted."""

    def __init__(self, settings: AnswerSettings) -> None:
        self._s = settings
        first = first_tensor(settings.model)
        self.device: Any = "cpu" if first is None else first.device
        cuda = "cuda" in str(self.device)
        self._budget = settings.batch_tokens or (_TOKENS_CUDA if cuda else _TOKENS_CPU)
        self._takes = frozenset(inspect.signature(settings.model.forward).parameters)
        vocabulary = int(getattr(settings.model.config.get_text_config(), "vocab_size", 1))
        self._most = _LOGITS_CUDA if cuda else _LOGITS_CPU
        self._rows = max(self._most // (max(len(settings.tokens), 1) * vocabulary), 1)
        self._shares, self._checked = settings.share_prefix and not settings.model.config.is_encoder_decoder, False

    def __call__(self, prompts: list[str]) -> Floats:
        """(n, tokens of the answer) log-probabilities."""
        import torch

        s = self._s
        ids = self.encode(prompts)
        out = np.empty((len(ids), len(s.tokens)))
        with evaluating(s.model), torch.no_grad(), autocast(torch.device(self.device), dtype_named(s.dtype)):
            for shared, rows in self._groups(ids):
                self._score([ids[i] for i in rows], shared, out, rows)
        return out

    def encode(self, prompts: list[str]) -> list[list[int]]:
        """Tokens of each prompt, at least one.

        Raises:
            InputError: prompt and answer are longer than the model's context, or an empty prompt has no token to begin with.
        """
        s = self._s
        tokenizer, decoder = s.tokenizer, not s.model.config.is_encoder_decoder
        rows: list[list[int]] = tokenizer(prompts, add_special_tokens=s.special, padding=False, truncation=False, verbose=False)[
            "input_ids"
        ]
        if decoder and s.special and tokenizer.eos_token_id is not None:
            end, text = tokenizer.eos_token_id, tokenizer.eos_token
            # a tokenizer that closes every text would close the prompt before its answer
            rows = [r[:-1] if len(r) > 1 and r[-1] == end and not p.endswith(text) else r for r, p in zip(rows, prompts, strict=True)]
        if not all(rows):
            begin = next((i for i in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) if i is not None), None)
            if begin is None:
                raise InputError(
                    f"{type_name(s.model)}: an empty prompt has no token, and the tokenizer has none to begin with; use template="
                )
            rows = [row or [int(begin)] for row in rows]
        longest = max(map(len, rows), default=0)
        room = None if s.context is None else s.context - (max(len(s.tokens) - 1, 0) if decoder else 0)  # the last token is only scored
        if room is not None and longest > room:
            count = sum(len(row) > room for row in rows)
            raise InputError(
                f"{count} of {len(rows)} prompts are longer than {type_name(s.model)} reads: {longest} tokens, and {room} fit before an "
                f"answer of {len(s.tokens)}; a prompt is never cut, pass shorter ones"
            )
        return rows

    def _groups(self, ids: list[list[int]]) -> list[tuple[int, list[int]]]:
        if not self._shares or len(ids) < 2:
            return [(0, list(range(len(ids))))] if ids else []
        return prefix_groups(ids, overhead=_GROUP_CUDA if "cuda" in str(self.device) else _GROUP_CPU, least=_LEAST_PREFIX)

    def _score(self, ids: list[list[int]], shared: int, out: Floats, places: list[int]) -> None:
        """Write the scores of prompts that share a beginning to their places."""
        import torch

        cache = self._prefix(ids[0][:shared]) if shared and self._shares else None
        rest = ids if cache is None else [row[shared:] for row in ids]

        def work(bucket: list[int]) -> None:
            found = self._forward([rest[i] for i in bucket], cache)
            if cache is not None and not self._checked:
                self._check(ids[bucket[-1]], found[-1])
            out[[places[i] for i in bucket]] = found

        release = torch.cuda.empty_cache if "cuda" in str(self.device) else None
        extra = 0 if self._s.model.config.is_encoder_decoder else len(self._s.tokens) - 1
        options: dict[str, Any] = {"rows": self._rows, "extra": extra, "release": release}
        self._budget = for_each_bucket([len(row) for row in rest], work, tokens=self._budget, **options) or self._budget
        if cache is not None and not self._shares:  # the check failed: once more, in full
            self._score(ids, 0, out, places)

    def _prefix(self, tokens: list[int]) -> Any:
        """The model's cache after the common beginning; None where it keeps anything but plain keys and values of every token."""
        import torch

        if "past_key_values" not in self._takes:
            self._shares = False
            return None
        model, ids = self._s.model, torch.tensor([tokens], device=self.device)
        with only_places(model.get_output_embeddings(), torch.tensor([[len(tokens) - 1]]), (1, len(tokens))):
            cache = model(input_ids=ids, use_cache=True).past_key_values
        layers = getattr(cache, "layers", None)
        if type(cache).__name__ != "DynamicCache" or not layers or any(type(layer).__name__ != "DynamicLayer" for layer in layers):
            self._shares = False
            return None
        return cache

    def _forward(self, rows: list[list[int]], cache: Any) -> Floats:
        """(rows, tokens) log-probabilities of rows that are sorted by length, the longest first."""
        import torch

        s = self._s
        model, t = s.model, len(s.tokens)
        answer = torch.tensor(s.tokens, device=self.device)
        if model.config.is_encoder_decoder:
            ids, mask = padded(rows, s.tokenizer.pad_token_id or 0)
            start = int(model.config.decoder_start_token_id)
            decoder = torch.cat([answer.new_tensor([start]), answer[:-1]]).expand(len(rows), -1)
            there = torch.from_numpy(ids).to(self.device), torch.from_numpy(mask).to(self.device)
            logits = model(input_ids=there[0], attention_mask=there[1], decoder_input_ids=decoder, use_cache=False).logits
        else:
            # padding is at the right, after everything that is read: no mask is needed, positions are the model's own, and any token does
            ids, _ = padded([[*row, *s.tokens[:-1]] for row in rows], s.tokens[-1])
            options: dict[str, Any] = {"use_cache": False} if "use_cache" in self._takes else {}
            if cache is not None:
                options = {"past_key_values": _expanded(cache, len(rows)), "use_cache": True}
            first = torch.tensor([len(row) for row in rows]) - 1  # where the answer's first token is scored
            places = first[:, None] + torch.arange(t)
            with only_places(model.get_output_embeddings(), places, ids.shape):
                logits = model(input_ids=torch.from_numpy(ids).to(self.device), **options).logits
            if logits.shape[1] != t:  # a head of another kind scored every place
                logits = logits[torch.arange(len(rows), device=logits.device)[:, None], places.to(logits.device)]
                self._rows = min(self._rows, max(self._most // (ids.shape[1] * logits.shape[2]), 1))
        logits = logits.float()
        answer = answer.to(logits.device)
        chosen = logits.gather(2, answer.expand(len(rows), -1)[:, :, None])[:, :, 0]
        scores: Floats = (chosen - torch.logsumexp(logits, dim=2)).cpu().numpy().astype(np.float64)
        return scores

    def _check(self, prompt: list[int], found: Floats) -> None:
        """Compare one prompt, computed with the shared beginning, with the plain computation, once."""
        self._checked = True
        plain = self._forward([prompt], None)[0]
        allowed = 0.1 if half_precision(self._s.model, dtype_named(self._s.dtype)) else 1e-3
        apart = float(np.abs(plain - found).max())
        if not apart <= allowed * (1 + float(np.abs(plain).max())):
            self._shares = False
            tell(
                f"{type_name(self._s.model)}: with the cache of a shared beginning, log-probabilities are up to {apart:.2g} off; every "
                "prompt is computed in full (share_prefix=False says so from the start)",
                PrefixWarning,
            )


def _expanded(cache: Any, rows: int) -> Any:
    """The cache of one row for many rows; keys and values are views, and what the model appends is its own."""
    whole = copy.copy(cache)
    whole.layers = []
    for layer in cache.layers:
        one = copy.copy(layer)
        one.keys, one.values = layer.keys.expand(rows, -1, -1, -1), layer.values.expand(rows, -1, -1, -1)
        whole.layers.append(one)
    return whole
