"""Replies that were paid for once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from whybox._remote import JsonCache, digest
from whybox.errors import InputError
from whybox.llms._types import OnReply, Prompt, Reply, Sampling, TextGenerator

_KEPT = ("text", "finish", "prompt_tokens", "reply_tokens")


@dataclass(frozen=True)
class Cached:
    """A text generator that remembers its replies on disk.

    A reply is committed as soon as it arrives: a run that is killed and started again repeats no reply that had arrived. The key is a hash
    of the model's identity, the sampling parameters, the seed and the messages; values are JSON. Processes may share the file. Failures are
    not kept; empty, refused and cut-off replies are: they arrived and were paid for.

    Args:
        generator: who answers what is not in the cache.
        cache: where replies are kept; :meth:`at` opens one by its path.

    Example:
        >>> import tempfile
        >>> from whybox.llms import FunctionGenerator
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     llm = Cached.at(folder + "/replies.sqlite", FunctionGenerator(str.upper, name="upper"))
        ...     a = llm.generate([Prompt.of("hello")])[0]
        ...     b = llm.generate([Prompt.of("hello")])[0]
        ...     llm.cache.close()
        >>> a.text, a.cached, b.text, b.cached
        ('HELLO', False, 'HELLO', True)
    """

    generator: TextGenerator
    cache: JsonCache

    @classmethod
    def at(cls, path: str | os.PathLike[str], generator: TextGenerator) -> Cached:
        """The generator with a cache at this path, which is made if it does not exist.

        Raises:
            InputError: the path holds something else.
        """
        return cls(generator, JsonCache(path))

    def identity(self) -> dict[str, Any]:
        """The generator's own."""
        return self.generator.identity()

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling = Sampling(),  # noqa: B008  # frozen
        *,
        on_reply: OnReply | None = None,
    ) -> list[Reply]:
        """Answer every prompt, from the cache where it is there.

        Args:
            prompts: what is asked.
            sampling: temperature and length; part of the key.
            on_reply: called with (position, reply) as each reply is there.

        Returns:
            One reply a prompt, in order.
        """
        identity, parameters = self.identity(), asdict(sampling)
        keys = [digest(identity, parameters, prompt.seed, prompt.messages) for prompt in prompts]
        known = self.cache.get_many(list(dict.fromkeys(keys)))
        replies: list[Reply | None] = [None] * len(prompts)
        missing: dict[str, list[int]] = {}
        for position, key in enumerate(keys):
            if key in known:
                replies[position] = reply = _load(known[key])
                if on_reply is not None:
                    on_reply(position, reply)
            else:
                missing.setdefault(key, []).append(position)
        groups = list(missing.items())

        def take(index: int, reply: Reply) -> None:
            if not isinstance(reply, Reply):
                raise InputError(f"{type(self.generator).__name__}.generate: expected a list of Reply, got {type(reply).__name__} in it")
            key, places = groups[index]
            if reply.finish != "failed":
                stored = _load(self.cache.put(key, {name: getattr(reply, name) for name in _KEPT}))
                reply = replace(reply, text=stored.text, finish=stored.finish)  # another process may have been first: one answer for all
            for number, position in enumerate(places):
                here = reply if number == 0 else replace(reply, prompt_tokens=None, reply_tokens=None, requests=0, cached=True)
                replies[position] = here
                if on_reply is not None:
                    on_reply(position, here)

        asked = [prompts[places[0]] for _, places in groups]
        if asked:
            answers = self.generator.generate(asked, sampling, on_reply=take)
            if len(answers) != len(asked):
                raise InputError(f"{type(self.generator).__name__}.generate: expected {len(asked)} replies, got {len(answers)}")
            for index, reply in enumerate(answers):
                if replies[groups[index][1][0]] is None:  # a generator that does not report replies as they arrive
                    take(index, reply)
        return [reply for reply in replies if reply is not None]


def _load(value: dict[str, Any]) -> Reply:
    return Reply(value["text"], value["finish"], None, value["prompt_tokens"], value["reply_tokens"], requests=0, cached=True)
