"""Any endpoint that speaks OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from whybox._remote import BadReply, Budget, Call, Ledger, Limits, Outcome, Price, RemoteClient, Retry, Secret, Spending, Tokens
from whybox.errors import OptionError
from whybox.llms._types import Finish, OnReply, Prompt, Reply, Sampling

_PER_MESSAGE = 16  # tokens that a chat template may add around a message
_OURS = frozenset({"model", "messages", "temperature", "max_tokens", "seed", "n", "stream"})


@dataclass(frozen=True)
class Plan:
    """What a call would cost at most, and about.

    Args:
        requests: one a distinct prompt.
        tokens: about: four characters a prompt token, replies as long as their prompts' last message or max_tokens, whichever is less.
        at_most: what a hard budget reserves: a token for every byte, and max_tokens a reply.
        money: the price of ``tokens``, None without a price.
        money_at_most: the price of ``at_most``.

    Example:
        >>> plan = OpenAICompatible("http://127.0.0.1:8000/v1", "tiny").plan([Prompt.of("hi"), Prompt.of("hi")])
        >>> plan.requests, plan.tokens.total < plan.at_most.total
        (1, True)
    """

    requests: int
    tokens: Tokens
    at_most: Tokens
    money: float | None
    money_at_most: float | None


@dataclass(frozen=True)
class OpenAICompatible:
    """Chat completions of a hosted or local server (OpenAI, vLLM, llama.cpp, Ollama, `transformers serve`, ...).

    The key is named, not given: it is read from the environment when a request is sent, and stands in no repr, log, error, cache or file.
    Nothing is believed that the server need not honour: no ``n``, no ``response_format``; one reply is one request.

    Args:
        base_url: address up to the version, such as ``"https://api.openai.com/v1"``.
        model: the model's name at this endpoint.
        api_key_env: name of the environment variable that holds the key; None (default) sends none.
        limits: concurrency (16), requests and tokens per minute, time-out.
        retry: backoff.
        budget: hard limits on requests, tokens or money over the life of this object; requests are booked before they are sent.
        price: of a million tokens, for money.
        extra: further fields of every request, such as ``{"top_p": 0.9}``; part of the cache's key.
        revision: tells apart two models of one name in the cache, such as the same name at two endpoints.
        max_tokens_field: "max_tokens" (default), or "max_completion_tokens" where an endpoint wants that.
        key_header: header of the key. Default "authorization", as "Bearer KEY"; any other header gets the bare key.

    Raises:
        OptionError: an option is unusable.

    Example:
        >>> llm = OpenAICompatible("http://127.0.0.1:8000/v1", "tiny", limits=Limits(concurrency=4))
        >>> llm.plan([Prompt.of("Good morning")], Sampling(max_tokens=16)).requests
        1
    """

    base_url: str
    model: str
    api_key_env: str | None = None
    limits: Limits = field(default=Limits())
    retry: Retry = field(default=Retry())
    budget: Budget = field(default=Budget())
    price: Price | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    revision: str | None = None
    max_tokens_field: str = "max_tokens"
    key_header: str = "authorization"
    _client: RemoteClient = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        secret = Secret(None)
        try:
            secret = Secret(self.api_key_env)
        except OptionError:
            # a key given by mistake must not stay in an object that a traceback or debugger shows
            object.__setattr__(self, "api_key_env", None)
            raise
        if not isinstance(self.model, str) or not self.model:
            raise OptionError(f"model: expected the model's name at the endpoint, got {self.model!r}")
        if clash := sorted(_OURS & set(self.extra)):
            raise OptionError(f"extra: {clash} are set by whybox; use Sampling, Prompt(seed=...) or max_tokens_field for them")
        client = RemoteClient(
            url=self.base_url.rstrip("/") + "/chat/completions",
            secret=secret,
            limits=self.limits,
            retry=self.retry,
            ledger=Ledger(self.budget, self.price),
            key_header=self.key_header,
            key_prefix="Bearer " if self.key_header.lower() == "authorization" else "",
        )
        object.__setattr__(self, "_client", client)

    @property
    def spent(self) -> Spending:
        """What this object has spent so far."""
        return self._client.ledger.spent

    def identity(self) -> dict[str, Any]:
        """Model, revision and extra fields; not the address, so that an endpoint may move."""
        return {"kind": "chat", "model": self.model, "revision": self.revision, "extra": dict(self.extra)}

    def plan(self, prompts: Sequence[Prompt], sampling: Sampling = Sampling()) -> Plan:  # noqa: B008  # frozen
        """What answering these prompts would cost; nothing is sent."""
        distinct = list(dict.fromkeys(prompts))
        bounds = [self._bound(prompt, sampling) for prompt in distinct]
        most = Tokens(sum(b.prompt for b in bounds), sum(b.reply for b in bounds))
        about = Tokens(
            sum(sum(len(content) // 4 + 4 for _, content in prompt.messages) for prompt in distinct),
            sum(min(len(prompt.messages[-1][1]) // 4 + 1, sampling.max_tokens) for prompt in distinct),
        )
        price = self.price
        return Plan(len(distinct), about, most, None if price is None else price.of(about), None if price is None else price.of(most))

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling = Sampling(),  # noqa: B008  # frozen
        *,
        on_reply: OnReply | None = None,
    ) -> list[Reply]:
        """Answer every prompt; equal prompts are sent once.

        Args:
            prompts: what is asked.
            sampling: temperature and length.
            on_reply: called with (position, reply) as each reply arrives, from another thread.

        Returns:
            One reply a prompt, in order; finish "failed" where every try failed.

        Raises:
            RemoteError: the endpoint refused the client, or nothing succeeds any more.
            BudgetError: the next request could exceed the budget. Replies that arrived were handed to ``on_reply``.
            MissingDependencyError: aiohttp is not installed.
        """
        places: dict[Prompt, list[int]] = {}
        for position, prompt in enumerate(prompts):
            places.setdefault(prompt, []).append(position)
        distinct = list(places)
        replies: list[Reply | None] = [None] * len(prompts)

        def take(index: int, outcome: Outcome[Reply]) -> None:
            first = _counted(outcome)
            for number, position in enumerate(places[distinct[index]]):
                reply = first if number == 0 else Reply(first.text, first.finish, first.error, cached=True)
                replies[position] = reply
                if on_reply is not None:
                    on_reply(position, reply)

        self._client.run((Call(self._body(p, sampling), self._bound(p, sampling)) for p in distinct), _decode, take)
        assert all(reply is not None for reply in replies)
        return [reply for reply in replies if reply is not None]

    def _body(self, prompt: Prompt, sampling: Sampling) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": role, "content": content} for role, content in prompt.messages],
            "temperature": sampling.temperature,
            self.max_tokens_field: sampling.max_tokens,
            **self.extra,
        }
        return body if prompt.seed is None else {**body, "seed": prompt.seed}

    def _bound(self, prompt: Prompt, sampling: Sampling) -> Tokens:
        """No tokenizer makes more than one token of a byte."""
        return Tokens(sum(len(c.encode("utf-8", "surrogatepass")) + _PER_MESSAGE for _, c in prompt.messages), sampling.max_tokens)


def _counted(outcome: Outcome[Reply]) -> Reply:
    reply = outcome.value or Reply("", "failed", outcome.error)
    return Reply(reply.text, reply.finish, reply.error, outcome.tokens.prompt, outcome.tokens.reply, outcome.attempts)


def _decode(answer: Any, call: Call) -> tuple[Reply, Tokens | None]:
    """A chat completion to a reply; anything else asks for another try."""
    del call  # one reply is like another
    try:
        choice = answer["choices"][0]
        message = choice["message"]
        content, refusal, why = message.get("content"), message.get("refusal"), choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise BadReply("expected a chat completion with choices[0].message") from error
    if content is not None and not isinstance(content, str):
        raise BadReply(f"expected a text as content, got {type(content).__name__}")
    finish: Finish = "refused" if refusal or why == "content_filter" else "length" if why == "length" else "stop"
    return Reply(content or (refusal if isinstance(refusal, str) else ""), finish), _usage(answer)


def _usage(answer: Any) -> Tokens | None:
    usage = answer.get("usage")
    if not isinstance(usage, dict):
        return None
    sent, received = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if isinstance(sent, int) and isinstance(received, int) and sent >= 0 and received >= 0:
        return Tokens(sent, received)
    return None
