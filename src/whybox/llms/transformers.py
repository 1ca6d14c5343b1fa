"""A local Hugging Face model."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np

from whybox._arrays import to_numpy
from whybox._random import generator
from whybox._torch import evaluating, for_each_bucket, padded
from whybox.errors import InputError, MissingDependencyError, OptionError
from whybox.llms._types import OnReply, Prompt, Reply, Sampling


@dataclass(frozen=True)
class TransformersGenerator:
    """A causal language model of transformers on its own device, CPU or CUDA.

    Prompts go through the tokenizer's chat template if it has one, are sorted by length, packed into batches and padded on the left. Out of
    memory halves the batch and goes on. Neither the tokenizer nor the model's mode and generation settings are changed. Sampling draws one
    uniform number a token from the prompt's own seed, so that a reply does not depend on its neighbours in the batch or on the global
    generators (up to the model's own rounding, which batch shape and padding move in the last digits).

    Args:
        model: a loaded causal language model, such as from ``AutoModelForCausalLM.from_pretrained(...)``.
        tokenizer: its tokenizer.
        batch_size: prompts at once. Default 32.
        batch_tokens: the most tokens at once, padding and replies included; None (default) leaves it to batch_size.
        revision: identifies the weights for the cache; None computes a hash of them, once, which reads them all.

    Raises:
        OptionError: a size is not a positive integer.
        InputError: this is not a pair of causal language model and tokenizer.

    Example:
        >>> from transformers import AutoModelForCausalLM, AutoTokenizer  # doctest: +SKIP
        >>> name = "Qwen/Qwen2.5-0.5B-Instruct"  # doctest: +SKIP
        >>> llm = TransformersGenerator(AutoModelForCausalLM.from_pretrained(name), AutoTokenizer.from_pretrained(name))  # doctest: +SKIP
        >>> llm.generate([Prompt.of("Say good morning.")], Sampling(max_tokens=8))[0].text  # doctest: +SKIP
        'Good morning!'
    """

    model: Any
    tokenizer: Any
    batch_size: int = 32
    batch_tokens: int | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "batch_tokens"):
            value = getattr(self, name)
            if not (name == "batch_tokens" and value is None) and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise OptionError(f"{name}: expected a positive integer, got {value!r}")
        if not callable(getattr(self.model, "generate", None)):
            raise InputError(f"model: expected a causal language model with generate(), got {type(self.model).__name__}")
        if not callable(getattr(self.tokenizer, "decode", None)):
            raise InputError(f"tokenizer: expected the model's tokenizer, got {type(self.tokenizer).__name__}")

    def __repr__(self) -> str:
        return f"TransformersGenerator({type(self.model).__name__}, batch_size={self.batch_size})"

    @cached_property
    def _weights(self) -> str:
        if self.revision is not None:
            return self.revision
        state = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            state.update(f"{name} {tuple(tensor.shape)} {tensor.dtype};".encode())
            state.update(np.ascontiguousarray(to_numpy(tensor)).tobytes())
        return state.hexdigest()

    def identity(self) -> dict[str, Any]:
        """The model's class, its weights and its chat template."""
        template = str(getattr(self.tokenizer, "chat_template", None))
        return {
            "kind": "transformers",
            "model": type(self.model).__name__,
            "revision": self._weights,
            "template": hashlib.sha256(template.encode()).hexdigest(),
        }

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling = Sampling(),  # noqa: B008  # frozen
        *,
        on_reply: OnReply | None = None,
    ) -> list[Reply]:
        """Answer every prompt; equal prompts are answered once.

        Args:
            prompts: what is asked.
            sampling: temperature and length. At a temperature above 0 a prompt without a seed is drawn with seed 0.
            on_reply: called with (position, reply) after each batch.

        Returns:
            One reply a prompt, in order; finish "failed" for a prompt that is longer than the model's context.

        Raises:
            MissingDependencyError: torch or transformers are not installed.
            MemoryError: one prompt alone does not fit (or the library's own out-of-memory error).
        """
        places: dict[Prompt, list[int]] = {}
        for position, prompt in enumerate(prompts):
            places.setdefault(prompt, []).append(position)
        distinct = list(places)
        tokens = [self._encode(prompt) for prompt in distinct]
        replies: list[Reply | None] = [None] * len(prompts)

        def take(index: int, reply: Reply) -> None:
            for number, position in enumerate(places[distinct[index]]):
                replies[position] = here = reply if number == 0 else Reply(reply.text, reply.finish, reply.error, cached=True)
                if on_reply is not None:
                    on_reply(position, here)

        context = getattr(self.model.config, "max_position_embeddings", None)
        fits = [context is None or len(t) + sampling.max_tokens <= context for t in tokens]
        for index in np.flatnonzero(~np.array(fits, dtype=bool)).tolist():
            error = f"{len(tokens[index])} prompt tokens and {sampling.max_tokens} for the reply exceed the context of {context}"
            take(index, Reply("", "failed", error, prompt_tokens=0, reply_tokens=0))
        asked = np.flatnonzero(fits).tolist()

        def answer(batch: list[int]) -> None:
            chosen = [asked[i] for i in batch]
            answers = self._batch([tokens[i] for i in chosen], [distinct[i].seed for i in chosen], sampling)
            for index, reply in zip(chosen, answers, strict=True):
                take(index, reply)

        for_each_bucket(
            [len(tokens[i]) for i in asked],
            answer,
            rows=self.batch_size,
            tokens=self.batch_tokens,
            extra=sampling.max_tokens,
            release=self._release,
        )
        assert all(reply is not None for reply in replies)
        return [reply for reply in replies if reply is not None]

    def _release(self) -> None:
        if "cuda" in str(self.model.device):
            import torch

            torch.cuda.empty_cache()

    def _encode(self, prompt: Prompt) -> list[int]:
        if getattr(self.tokenizer, "chat_template", None):
            messages = [{"role": role, "content": content} for role, content in prompt.messages]
            encoded = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)
        else:
            text = "\n\n".join(content for _, content in prompt.messages) + "\n\n"
            encoded = self.tokenizer(text)
        ids = [int(i) for i in encoded["input_ids"]]
        if not ids:
            raise InputError("prompt: the tokenizer makes no token of it; expected a text that is not empty")
        return ids

    def _batch(self, tokens: list[list[int]], seeds: list[int | None], sampling: Sampling) -> list[Reply]:
        try:
            import torch
            from transformers import GenerationConfig, LogitsProcessorList
        except ImportError as error:
            raise MissingDependencyError("transformers", "hf", "TransformersGenerator") from error
        stops = self._stops()
        pad = next(i for i in (self.tokenizer.pad_token_id, *stops, 0) if i is not None)
        ids, mask = padded(tokens, pad, left=True)
        width = ids.shape[1]
        settings = GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=sampling.max_tokens, do_sample=False, num_beams=1, pad_token_id=pad, eos_token_id=stops or None, use_cache=True
        )
        processors = LogitsProcessorList()
        if sampling.temperature > 0:
            processors.append(_Draw(_uniforms(seeds, sampling.max_tokens), sampling.temperature, width))
        with evaluating(self.model), torch.inference_mode():
            out = self.model.generate(
                input_ids=torch.from_numpy(ids).to(self.model.device),
                attention_mask=torch.from_numpy(mask).to(self.model.device),
                generation_config=settings,
                logits_processor=processors,
            )
        return [self._reply(row, len(t), stops) for row, t in zip(out[:, width:].tolist(), tokens, strict=True)]

    def _stops(self) -> list[int]:
        """Tokens that end a reply: the model's and the tokenizer's."""
        listed = getattr(getattr(self.model, "generation_config", None), "eos_token_id", None)
        both = [*(listed if isinstance(listed, list) else [listed]), self.tokenizer.eos_token_id]
        return sorted({int(i) for i in both if i is not None})

    def _reply(self, row: list[int], n_prompt: int, stops: list[int]) -> Reply:
        kept = list(itertools.takewhile(lambda i: i not in stops, row))
        text = cast(str, self.tokenizer.decode(kept, skip_special_tokens=True))
        ended = len(kept) < len(row)
        return Reply(text, "stop" if ended else "length", None, n_prompt, len(kept) + ended, requests=1)


class _Draw:
    """Leaves one token a row: the one that the row's uniform number points at in the distribution (inverse of its sum)."""

    def __init__(self, uniforms: np.ndarray[Any, np.dtype[np.float64]], temperature: float, width: int) -> None:
        self._uniforms, self._temperature, self._width = uniforms, temperature, width

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        import torch

        step = input_ids.shape[1] - self._width
        u = torch.from_numpy(self._uniforms[:, step : step + 1]).to(scores.device)  # (prompts, 1)
        total = torch.cumsum(torch.softmax(scores.double() / self._temperature, dim=-1), dim=-1)
        chosen = torch.searchsorted(total, u * total[:, -1:], right=True).clamp(max=scores.shape[1] - 1)
        return torch.full_like(scores, -torch.inf).scatter(1, chosen, 0.0)


def _uniforms(seeds: list[int | None], n: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.stack([generator(seed or 0, "sampling").random(n) for seed in seeds])
