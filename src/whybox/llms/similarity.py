"""An endpoint that returns only text, as a model: how alike its answer is to the answer that is to be explained."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any

import numpy as np

from whybox._templates import check_template, filled
from whybox.errors import OptionError, OutputShapeError, RemoteError
from whybox.llms._types import Prompt, Reply, Sampling, TextGenerator
from whybox.llms.cached import Cached
from whybox.llms.openai_compatible import OpenAICompatible
from whybox.typing import Floats, Model, OnAnswer, Remote, Rows

_ROWS = 256  # prompts handed over at once: far more than are in flight
_WORD = re.compile(r"\w+")
Similarity = Callable[[Sequence[str], str], Sequence[float]]


@dataclass(frozen=True)
class AnswerSimilarity:
    """A text generator as a function of its prompt, where nothing but its text can be seen: rows are prompts, or what stands in a template.

    The game is ``similarity(answer to the perturbed prompt, answer)``: 1 where the words that are left out do not change the answer.
    Prompts go through the generator as they are, with its concurrency, retries, budget and cache; each distinct prompt is asked once in
    the life of this object, and what was answered before a failure is not asked again. Use temperature 0, or answers and values vary.

    Args:
        generator: any text generator, such as ``OpenAICompatible(...)``, best in ``Cached.at(path, ...)``.
        answer: the answer to explain. None (default): to be asked by :meth:`answering`.
        similarity: "f1" (default): F1 of the two answers' words, each as often as it occurs; "cosine": cosine of their word counts; or a
            function of (answers, the answer to explain) that returns one number an answer, such as a cosine of embeddings.
        template: what is around each row; "{text}" stands for the row. Rows that are records (dicts, DataFrames) go where their fields are
            named, as in "{context} Question: {question}". Default: the row alone.
        system: the system message. Default "": none.
        sampling: temperature (0) and the longest answer (256 tokens).
        version: identifies the generator and a similarity of your own for checkpoints and caches of results; None takes the generator's
            identity, where the similarity is one of the names.

    Raises:
        OptionError: an option has a value that does not exist.

    Source: F1 of words: Rajpurkar et al. 2016 (SQuAD); similarity of answers as the game: Goldshmidt and Horovicz 2024 (TokenSHAP).

    Example:
        >>> import whybox as wb
        >>> generator = wb.llms.FunctionGenerator(lambda text: "Paris" if "France" in text else "Rome")
        >>> game = AnswerSimilarity(generator).answering("The capital of France?")
        >>> wb.ExactSHAP(game, space=wb.spaces.Words()).explain(["The capital of France?"]).values[0].astype(int)
        array([0, 0, 0, 1])
    """

    generator: TextGenerator
    answer: str | None = None
    _: KW_ONLY
    similarity: str | Similarity = "f1"
    template: str = "{text}"
    system: str = ""
    sampling: Sampling = field(default=Sampling(max_tokens=256))
    version: str | None = None
    _known: dict[Prompt, str] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Check the options; nothing is asked."""
        if isinstance(self.generator, type) or not isinstance(self.generator, TextGenerator):
            raise OptionError(f"generator: expected a text generator such as whybox.llms.OpenAICompatible(...), got {self.generator!r}")
        if self.answer is not None and not isinstance(self.answer, str):
            raise OptionError(f"answer: expected a text or None, got {type(self.answer).__name__}")
        if not callable(self.similarity) and self.similarity not in _SIMILARITIES:
            raise OptionError(f"similarity: expected one of {', '.join(map(repr, _SIMILARITIES))} or a function, got {self.similarity!r}")
        check_template(self.template)

    def answering(self, prompt: Any) -> AnswerSimilarity:
        """The same with the answer that the generator gives to this prompt.

        Args:
            prompt: a row, text or record: what the template is put around.

        Raises:
            RemoteError: there was no answer.
        """
        (answer,) = self.answers([prompt])
        found = replace(self, answer=answer)
        found._known.update(self._known)
        return found

    def answers(self, rows: Rows) -> list[str]:
        """What the generator says to each row; what it said before is not asked again.

        Raises:
            InputError: rows are neither texts nor records that fit the template.
            RemoteError: a prompt has no answer after every retry; the answers that came are kept.
        """
        return self._ask(rows, None)

    def _ask(self, rows: Rows, on_text: Callable[[list[int], str], None] | None) -> list[str]:
        """Answers in order; ``on_text`` hears of each answer and its positions as soon as it is there."""
        places: dict[Prompt, list[int]] = {}
        for position, text in enumerate(filled(self.template, rows, "AnswerSimilarity")):
            places.setdefault(Prompt.of(text, system=self.system), []).append(position)
        asked = [prompt for prompt in places if prompt not in self._known]
        if on_text is not None:
            for prompt in places:
                if prompt in self._known:
                    on_text(places[prompt], self._known[prompt])

        def keep(index: int, reply: Reply) -> None:
            if reply.finish != "failed":
                self._known[asked[index]] = reply.text
                if on_text is not None:
                    on_text(places[asked[index]], reply.text)

        failed = [r for r in self.generator.generate(asked, self.sampling, on_reply=keep) if r.finish == "failed"] if asked else []
        if failed:
            raise RemoteError(
                f"{len(failed)} of {len(asked)} prompts have no answer ({failed[0].error}); the others' answers are kept in this object, "
                "the same call goes on from them"
            )
        found = [""] * sum(map(len, places.values()))
        for prompt, positions in places.items():
            for position in positions:
                found[position] = self._known[prompt]
        return found

    def to_model(self, output: str = "auto") -> Model:
        """The model as the engine calls it.

        Raises:
            OptionError: there is no answer yet, or an output other than the similarity was asked.
        """
        answer, similarity = self.answer, self.similarity
        if answer is None:
            raise OptionError("answer: there is none yet; pass answer=, or ask for it: AnswerSimilarity(...).answering(prompt)")
        if output not in ("auto", "value"):
            raise OptionError(f"output={output!r}: the output of AnswerSimilarity is a similarity, which is a value; leave output out")
        alike = similarity if callable(similarity) else _SIMILARITIES[similarity]

        def judged(answers: Sequence[str]) -> Floats:
            found = np.asarray(alike(answers, answer), dtype=np.float64)
            if found.shape != (len(answers),):
                raise OutputShapeError(f"similarity: expected {len(answers)} numbers for {len(answers)} answers, got shape {found.shape}")
            return found

        def stream(rows: Rows, on_answer: OnAnswer) -> Floats:
            values: dict[int, float] = {}

            def take(positions: list[int], text: str) -> None:
                (value,) = judged([text]).tolist()
                values.update(dict.fromkeys(positions, value))
                on_answer(np.array(positions, dtype=np.int64), np.full((len(positions), 1), value), True)

            n = len(self._ask(rows, take))
            return np.array([values[position] for position in range(n)])

        inner = self.generator.generator if isinstance(self.generator, Cached) else self.generator
        limits = inner.limits if isinstance(inner, OpenAICompatible) else None
        return Model(
            predict=lambda rows: judged(self.answers(rows)),
            name=type(inner).__name__,
            output_names=("similarity",),
            kind="value",
            batch_rows=_ROWS,
            fingerprint=self.version,
            identify=self._identity,
            stream=stream,
            remote=None if limits is None else Remote(1, limits.concurrency, limits.requests_per_minute),
        )

    def _identity(self) -> str | None:
        if callable(self.similarity):
            return None  # a function may change and keep its name
        sampling = [self.sampling.temperature, self.sampling.max_tokens]
        return json.dumps([self.generator.identity(), self.answer, self.similarity, self.template, self.system, sampling], sort_keys=True)


def _counts(text: str) -> Counter[str]:
    return Counter(_WORD.findall(text.lower()))


def _f1(answers: Sequence[str], answer: str) -> list[float]:
    goal = _counts(answer)
    found = [_counts(text) for text in answers]
    return [2 * (one & goal).total() / total if (total := one.total() + goal.total()) else 1.0 for one in found]


def _cosine(answers: Sequence[str], answer: str) -> list[float]:
    goal = _counts(answer)
    size = sum(c * c for c in goal.values()) ** 0.5
    values = []
    for one in map(_counts, answers):
        length = size * sum(c * c for c in one.values()) ** 0.5
        values.append(sum(c * goal[word] for word, c in one.items()) / length if length else float(not one and not goal))
    return values


_SIMILARITIES: dict[str, Similarity] = {"f1": _f1, "cosine": _cosine}
