"""Language models as functions of their prompt: the log-probability of an answer, for many prompts at once.

transformers is never imported here: a model and a tokenizer cannot exist before it was.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from whybox._templates import check_template, filled
from whybox._torch import context_length, dtype_named, evaluating, first_tensor, half_precision, module_digest, tokenizer_digest
from whybox.errors import InputError, OptionError
from whybox.models._options import type_name
from whybox.models._scores import AnswerScores, AnswerSettings
from whybox.models.transformers import TruncationWarning
from whybox.typing import Floats, Model, Rows

_ROWS, _ROWS_LARGE = 256, 64  # prompts handed over at once
_LARGE = 20_000_000  # parameters from which a batch on a CPU takes long


@dataclass(frozen=True)
class TeacherForcing:
    """How probable a language model finds one answer, as a function of its prompt: rows are prompts, or what stands in a template.

    The answer's tokens are given to the model (teacher forcing), so that one forward scores all of them:
    ``log p(answer | prompt) = sum over t of log p(token t | prompt, tokens before t)``. Prompts are padded at the right, where nothing
    looks at the padding, and go through the model in buckets of like length. What prompts of a batch begin with alike is computed once,
    where the model keeps plain keys and values; where it keeps something else (sliding windows, recurrent states) every prompt is computed
    in full. Encoder-decoder models are always computed in full.

    Args:
        model: a loaded causal or encoder-decoder language model of transformers, on the device where it is to run.
        tokenizer: its tokenizer.
        answer: the answer: a text, or token ids. It follows the prompt as it is, so begin it with a space where the prompt does not end
            with one. None (default): to be made by :meth:`answering`.
        per: "answer" (default): one output, the log-probability of the whole answer; "token": one output for each of its tokens.
        template: what is around each row; "{text}" stands for the row. Rows that are records (dicts, DataFrames) go where their fields are
            named, as in "{context} Question: {question}". Default: the row alone.
        chat: put the prompt into the tokenizer's chat template, as the user's message; None (default): if it has one.
        system: the system message of the chat template. Default "": none.
        share_prefix: compute common beginnings once. Default True.
        batch_tokens: padded tokens of a forward; None (default): 4,096 on a CPU, 65,536 on CUDA.
        dtype: dtype of the matrix products, such as "bfloat16" (autocast: the weights stay what they are); None (default) is the model's.
        version: identifies model and tokenizer for checkpoints and caches; None computes a hash of them when it is needed.

    Raises:
        InputError: this is not a language model and its tokenizer.
        OptionError: an option has a value that does not exist.

    Source: teacher forcing as in shap's text generation explanations, Lundberg and Lee 2017; passages first, then their words:
    TextGenSHAP, Enouen et al. 2023.

    Example:
        >>> import whybox as wb
        >>> from transformers import AutoModelForCausalLM, AutoTokenizer  # doctest: +SKIP
        >>> name = "Qwen/Qwen2.5-0.5B-Instruct"  # doctest: +SKIP
        >>> llm, tokenizer = AutoModelForCausalLM.from_pretrained(name), AutoTokenizer.from_pretrained(name)  # doctest: +SKIP
        >>> prompt = "Paris is the capital of France. What is the capital of France?"  # doctest: +SKIP
        >>> scorer = TeacherForcing(llm, tokenizer).answering(prompt)  # doctest: +SKIP
        >>> scorer.text  # doctest: +SKIP
        'Paris'
        >>> wb.KernelSHAP(scorer, space=wb.spaces.Words()).explain([prompt])  # doctest: +SKIP
    """

    model: Any = field(repr=False)
    tokenizer: Any = field(repr=False)
    answer: str | Sequence[int] | None = None
    _: KW_ONLY
    per: Literal["answer", "token"] = "answer"
    template: str = "{text}"
    chat: bool | None = None
    system: str = ""
    share_prefix: bool = True
    batch_tokens: int | None = None
    dtype: Any = None
    version: str | None = None

    def __post_init__(self) -> None:
        """Check the pair and the options; no forward."""
        able = getattr(self.model, "can_generate", None)
        if not callable(able) or not able() or not hasattr(self.model, "config"):
            raise InputError(
                f"model: expected a loaded causal or encoder-decoder language model of transformers, got {type_name(self.model)}"
            )
        if not callable(self.tokenizer) or not callable(getattr(self.tokenizer, "decode", None)):
            raise InputError(f"tokenizer: expected the model's tokenizer, got {type_name(self.tokenizer)}")
        if self.per not in ("answer", "token"):
            raise OptionError(f'per: expected "answer" or "token", got {self.per!r}')
        check_template(self.template)
        given: Any = self.batch_tokens
        if given is not None and (isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < 1):
            raise OptionError(f"batch_tokens: expected a positive integer or None, got {given!r}")
        if self.chat and not getattr(self.tokenizer, "chat_template", None):
            raise OptionError("chat: the tokenizer has no chat template; leave chat out, or set tokenizer.chat_template")
        if self.system and not self._chats:
            raise OptionError("system: only a chat template has a system message; put it into template instead")
        dtype_named(self.dtype)
        if self.answer is not None and not isinstance(self.answer, str):
            object.__setattr__(self, "answer", tuple(int(token) for token in self.answer))
        if self.answer is not None and not self.tokens:
            raise InputError("answer: expected at least one token, and the tokenizer makes none of it")

    @property
    def tokens(self) -> tuple[int, ...]:
        """The answer's token ids; empty while there is no answer."""
        if self.answer is None or not isinstance(self.answer, str):
            return tuple(self.answer or ())
        return tuple(int(i) for i in self.tokenizer(self.answer, add_special_tokens=False)["input_ids"])

    @property
    def text(self) -> str:
        """The answer as text."""
        return self.answer if isinstance(self.answer, str) else str(self.tokenizer.decode(list(self.tokens)))

    @property
    def token_names(self) -> tuple[str, ...]:
        """The text of each token of the answer; a text that occurs again has its number behind it."""
        pieces = [str(self.tokenizer.decode([token])).strip() or repr(self.tokenizer.decode([token])) for token in self.tokens]
        seen: Counter[str] = Counter()
        names = []
        for piece in pieces:
            seen[piece] += 1
            names.append(piece if seen[piece] == 1 else f"{piece} #{seen[piece]}")
        return tuple(names)

    def answering(self, prompt: Any, *, max_tokens: int = 64) -> TeacherForcing:
        """The same with the answer that the model itself gives to this prompt, by taking the most probable token each time.

        Args:
            prompt: a row, text or record: what the template is put around.
            max_tokens: longest answer. Default 64; an answer that is cut there is warned of.

        Raises:
            InputError: the prompt is no text, or the model ends its answer before it begins.
        """
        import torch
        from transformers import GenerationConfig

        ids = self._scores(()).encode(self.prompts([prompt]))[0]
        first = first_tensor(self.model)
        listed = getattr(self.model.generation_config, "eos_token_id", None)
        ends = [i for i in (*(listed if isinstance(listed, list) else [listed]), self.tokenizer.eos_token_id) if i is not None]
        settings = GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=max_tokens, do_sample=False, num_beams=1, pad_token_id=next(iter(ends), 0), eos_token_id=ends or None
        )
        starts = getattr(self.model.generation_config, "decoder_start_token_id", None)
        settings.decoder_start_token_id = starts
        with evaluating(self.model), torch.no_grad():
            given = torch.tensor([ids], device=None if first is None else first.device)
            out = self.model.generate(input_ids=given, attention_mask=torch.ones_like(given), generation_config=settings)
        found = out[0].tolist()
        found = found[1:] if self.model.config.is_encoder_decoder else found[len(ids) :]
        answer = found[: next((i for i, token in enumerate(found) if token in ends), len(found))]
        if not answer:
            raise InputError("answering: the model ends its answer at once; give answer=, or another prompt")
        if len(answer) == len(found):
            warnings.warn(f"the answer was cut at max_tokens={max_tokens}", TruncationWarning, stacklevel=2)
        return replace(self, answer=tuple(answer))

    def prompts(self, rows: Rows) -> list[str]:
        """What the model reads for rows: the template around each, and the chat template around that.

        Raises:
            InputError: rows are neither texts nor records.
            SchemaError: the template names a field that the rows lack.
        """
        texts = filled(self.template, rows, type_name(self.model))
        if not self._chats:
            return texts
        system = [{"role": "system", "content": self.system}] if self.system else []
        render = self.tokenizer.apply_chat_template
        return [render([*system, {"role": "user", "content": t}], tokenize=False, add_generation_prompt=True) for t in texts]

    def to_model(self, output: str = "auto") -> Model:
        """The model as the engine calls it.

        Raises:
            OptionError: there is no answer yet, or an output other than the log-probability was asked.
        """
        if self.answer is None:
            raise OptionError("answer: there is none yet; pass answer=, or take what the model says: TeacherForcing(...).answering(prompt)")
        if output not in ("auto", "value"):
            raise OptionError(f"output={output!r}: the output of TeacherForcing is a log-probability, which is a value; leave output out")
        scores = self._scores(self.tokens)
        each, name = self.per == "token", type_name(self.model)

        def predict(rows: Rows) -> Floats:
            values = scores(self.prompts(rows))
            return values if each else values.sum(axis=1)

        large = "cpu" in str(scores.device) and sum(p.numel() for p in self.model.parameters()) > _LARGE
        return Model(
            predict=predict,
            name=name,
            output_names=self.token_names if each else (self.text.strip() or repr(self.text),),
            kind="value",
            batch_rows=_ROWS_LARGE if large else _ROWS,
            rounding=2e-2 if half_precision(self.model, dtype_named(self.dtype)) else 1e-5,
            fingerprint=self.version,
            identify=self._fingerprint,
        )

    @property
    def _chats(self) -> bool:
        return bool(getattr(self.tokenizer, "chat_template", None)) if self.chat is None else self.chat

    def _scores(self, tokens: tuple[int, ...]) -> AnswerScores:
        return AnswerScores(
            AnswerSettings(
                self.model,
                self.tokenizer,
                tokens,
                special=not self._chats,
                share_prefix=self.share_prefix,
                batch_tokens=self.batch_tokens,
                dtype=self.dtype,
                context=context_length(self.model, self.tokenizer),
            )
        )

    def _fingerprint(self) -> str:
        settings = repr((self.tokens, self.per, self.template, self._chats, self.system, str(dtype_named(self.dtype))))
        template = str(getattr(self.tokenizer, "chat_template", None)) if self._chats else ""
        return f"transformers:{module_digest(self.model)}:{tokenizer_digest(self.tokenizer)}:{settings}:{template}"
