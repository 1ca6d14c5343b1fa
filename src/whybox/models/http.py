"""Models behind an HTTP endpoint: rows are posted as JSON, many requests at once, and every answer that arrived is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from whybox._arrays import is_array, is_frame, to_numpy
from whybox._remote import BadReply, Budget, Call, Ledger, Limits, Outcome, RemoteClient, Retry, Secret, Spending, Tokens
from whybox.errors import InputError, OptionError, RemoteError
from whybox.models._codecs import Codec, Functions, as_numbers
from whybox.models._options import Options, Output
from whybox.typing import Floats, Model, OnAnswer, Remote, Rows

_SECRET_HEADERS = {"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "apikey", "x-auth-token"}
Shape = tuple[int, ...]


@dataclass(frozen=True)
class HTTPModel:
    """A model behind a JSON endpoint, to be handed to any explainer.

    A batch is cut into requests of ``rows_per_request`` rows, of which ``limits.concurrency`` are in flight; outputs come back in the order
    of the rows, whatever the order of arrival. Requests are made when there is room for them, so memory does not grow with the job. What
    is worth another try (429, 5xx, broken connections, time-outs, answers that cannot be read, of a wrong length or with NaN) gets one;
    Retry-After is honoured. With ``checkpoint=`` or ``Engine(cache=...)`` each answer is on disk as soon as it arrives: after a crash,
    ``kill -9`` or an exhausted budget the same call repeats at most the requests that were in flight.

    Args:
        url: where to post, without a key in it.
        encode: rows to the body of a request; or a dialect: :class:`whybox.models.OpenInference` (KServe, Triton),
            :class:`whybox.models.MLflow`, :class:`whybox.models.JSONRows`.
        decode: the parsed answer to outputs, (n,) or (n, k); None with a dialect.
        rows_per_request: rows of one request. Default 32; 1 for endpoints that take one row.
        api_key_env: name of the environment variable that holds the key; None (default) sends none.
        key_header: header of the key. Default "authorization", as "Bearer KEY"; any other header gets the bare key.
        headers: further headers, none of them secret.
        limits: concurrency (16), requests a minute, time-out.
        retry: backoff.
        budget: the most requests over the life of this object, repeated ones included; they are booked before they are sent.
        output: what the outputs are: "probability", "decision", "value" or "auto" (default: unknown).
        output_names: names of the k outputs, or None.
        n_outputs: outputs a row; 1 means (n,) or (n, 1). None (default) believes the first two answers that agree; a
            budget that ends before the second has then paid for one that is not kept.
        version: identifies the model for checkpoints and caches; change it when the endpoint serves another model.
        name: for messages; None takes the address.

    Raises:
        OptionError: an option is unusable.

    Example:
        >>> from whybox.testing.model_server import running
        >>> from whybox.models import JSONRows
        >>> from whybox import Occlusion
        >>> with running() as server:
        ...     model = HTTPModel(server.base_url + "/predict", JSONRows())
        ...     e = Occlusion(model, np.zeros((1, 3))).explain(np.ones((2, 3)))
        >>> e.values.shape, model.spent.requests
        ((2, 3), 3)
    """

    url: str
    encode: Callable[[Rows], Any] | Codec = field(repr=False)
    decode: Callable[[Any], Any] | None = field(default=None, repr=False)
    _: KW_ONLY
    rows_per_request: int = 32
    api_key_env: str | None = None
    key_header: str = "authorization"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    limits: Limits = field(default=Limits())
    retry: Retry = field(default=Retry())
    budget: Budget = field(default=Budget())
    output: Output = "auto"
    output_names: Sequence[str] | None = None
    n_outputs: int | None = None
    version: str | None = None
    name: str | None = None
    _client: RemoteClient = field(init=False, repr=False, compare=False)
    _codec: Codec = field(init=False, repr=False, compare=False)
    _learnt: list[Shape] = field(init=False, repr=False, compare=False, default_factory=list)

    def __post_init__(self) -> None:
        try:
            secret = Secret(self.api_key_env)
        except OptionError:
            # a key given by mistake must not stay in an object that a traceback or debugger shows
            object.__setattr__(self, "api_key_env", None)
            raise
        if shown := sorted(_SECRET_HEADERS & {name.lower() for name in self.headers}):
            object.__setattr__(self, "headers", {})
            raise OptionError(f"headers: {shown} carry keys; pass api_key_env= with the variable's name, and key_header= with the header")
        for option in ("rows_per_request", "n_outputs"):
            value = getattr(self, option)
            if not (value is None and option == "n_outputs") and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise OptionError(f"{option}: expected a positive integer, got {value!r}")
        if self.budget.tokens is not None or self.budget.money is not None:
            raise OptionError("budget: a model's endpoint counts requests; pass Budget(requests=...)")
        object.__setattr__(self, "_codec", _codec(self.encode, self.decode))
        client = RemoteClient(
            url=self.url,
            secret=secret,
            limits=self.limits,
            retry=self.retry,
            ledger=Ledger(self.budget, None),
            headers=dict(self.headers),
            key_header=self.key_header,
            key_prefix="Bearer " if self.key_header.lower() == "authorization" else "",
        )
        object.__setattr__(self, "_client", client)

    @property
    def spent(self) -> Spending:
        """Requests sent so far, repeated ones included."""
        return self._client.ledger.spent

    def __call__(self, rows: Rows, on_answer: OnAnswer | None = None) -> Floats:
        """Outputs of rows, (n,) or (n, k), in their order.

        Args:
            rows: array, DataFrame or list.
            on_answer: called with (positions, outputs, whether outputs have one axis) as answers arrive, from one other thread.

        Raises:
            RemoteError: the endpoint refused, or a request failed at every try. Answers in flight are awaited first.
            BudgetError: the budget is spent. Likewise.
            InputError: rows cannot be encoded.
        """
        n = int(rows.shape[0]) if is_array(rows) else len(rows)
        if n == 0:
            return np.empty(0)
        taken = _Taken(n, self._shape(), on_answer, declared=self.n_outputs is not None)
        left = [(start, min(start + self.rows_per_request, n)) for start in range(0, n, self.rows_per_request)]
        for _ in range(self.retry.attempts):
            self._ask(rows, left, taken)
            left = taken.settle()
            if not left:
                break
        else:
            raise RemoteError(f"{self.url}: answers have {sorted(taken.seen)} outputs a row, now this and now that; pass n_outputs=")
        if taken.confirmed and not self._learnt and taken.shape is not None:
            self._learnt.append(taken.shape)
        assert taken.outputs is not None
        return taken.outputs

    def _shape(self) -> Shape | None:
        return self._learnt[0] if self._learnt else None

    def _ask(self, rows: Rows, parts: list[tuple[int, int]], taken: _Taken) -> None:
        def calls() -> Iterator[Call]:
            for start, stop in parts:
                part = rows.iloc[start:stop] if is_frame(rows) else rows[start:stop]
                yield Call(self._codec.encode(part), about=_Part(stop - start))

        def decode(answer: Any, call: Call) -> tuple[Floats, Tokens | None]:
            outputs = as_numbers(self._codec.decode(answer, call.body))
            part: _Part = call.about
            self._judge(outputs, part.n, taken)
            if np.isnan(outputs).any():
                part.nans += 1
                if part.nans < self.retry.attempts - 1:  # otherwise it is the model's answer, and the engine's to judge
                    raise BadReply("NaN among the outputs")
            return outputs, None

        def take(index: int, outcome: Outcome[Floats]) -> None:
            start, stop = parts[index]
            if outcome.value is None:
                raise RemoteError(f"{self.url}: rows {start} to {stop - 1} of the batch have no answer: {outcome.error}")
            taken.take(start, outcome.value)

        self._client.run(calls(), decode, take)

    def _judge(self, outputs: Floats, n: int, taken: _Taken) -> None:
        """Refuse what cannot be the answer for n rows."""
        if outputs.ndim not in (1, 2) or len(outputs) != n or 0 in outputs.shape:
            raise BadReply(f"outputs of shape {outputs.shape} for {n} rows")
        width = 1 if outputs.ndim == 1 else outputs.shape[1]
        if self.n_outputs is not None and width != self.n_outputs:
            raise BadReply(f"{width} outputs a row, expected {self.n_outputs}")
        if self.n_outputs is None and taken.shape is not None and outputs.shape[1:] != taken.shape:
            raise BadReply(f"outputs of shape {outputs.shape}, where other rows have {taken.shape} each")


@dataclass
class _Part:
    """The rows of one request: how many, and how often they were answered with NaN."""

    n: int
    nans: int = 0


class _Taken:
    """Answers of one batch, put in their places. Until two agree on how many outputs a row has, or it is declared, none is passed on."""

    def __init__(self, n: int, shape: Shape | None, on_answer: OnAnswer | None, *, declared: bool = False) -> None:
        self._n, self._on_answer, self._declared = n, on_answer, declared
        self.shape = shape
        self.confirmed = False
        self.outputs: Floats | None = None if shape is None else np.empty((n, *shape))
        self.seen: dict[Shape, int] = {}
        self._waiting: dict[int, Floats] = {}

    def take(self, start: int, answer: Floats) -> None:
        """Put an answer to the rows from ``start`` on in its place."""
        if self.shape is None and self._declared:  # the first answer is kept even if it is the last that the budget allows
            self.confirmed = True
            self._agree(answer.shape[1:])
        if self.shape is not None:
            self._place(start, answer.reshape(len(answer), *self.shape))  # (n,) and (n, 1) are the same, where one output is declared
            return
        self._waiting[start] = answer
        shape = answer.shape[1:]
        self.seen[shape] = self.seen.get(shape, 0) + 1
        if self.seen[shape] > 1:
            self.confirmed = True
            self._agree(shape)

    def _agree(self, shape: Shape) -> None:
        self.shape, self.outputs = shape, np.empty((self._n, *shape))
        for start in [start for start, answer in self._waiting.items() if answer.shape[1:] == shape]:
            self._place(start, self._waiting.pop(start))

    def settle(self) -> list[tuple[int, int]]:
        """Ranges of rows that have to be asked again: their answers have another width than the others."""
        if self.shape is None and len(self.seen) == 1:
            self._agree(next(iter(self.seen)))
        again = [(start, start + len(answer)) for start, answer in sorted(self._waiting.items())]
        self._waiting.clear()
        return again

    def _place(self, start: int, answer: Floats) -> None:
        assert self.outputs is not None
        self.outputs[start : start + len(answer)] = answer
        if self._on_answer is not None:
            self._on_answer(np.arange(start, start + len(answer)), answer.reshape(len(answer), -1), answer.ndim == 1)


def _codec(encode: Any, decode: Any) -> Codec:
    if isinstance(encode, type):
        raise OptionError(
            f"encode: expected a function or a dialect, got the class {encode.__name__}; make an instance: {encode.__name__}()"
        )
    if isinstance(encode, Codec):
        if decode is not None:
            raise OptionError("decode: the dialect brings its own; leave decode out")
        return encode
    if not callable(encode) or not callable(decode):
        raise OptionError(
            "encode, decode: expected two functions, rows to body and answer to outputs, or a dialect such as whybox.models.JSONRows()"
        )
    return Functions(encode, decode)


def matches(obj: Any) -> bool:
    """Whether the object is an HTTPModel."""
    return isinstance(obj, HTTPModel)


def adapt(obj: HTTPModel, options: Options) -> Model:
    """A Model that posts rows, in batches that keep all requests in flight, and passes answers on as they arrive.

    Args:
        obj: the endpoint.
        options: device and dtype are refused; ``output`` only declares what the outputs are.

    Raises:
        InputError: output is declared twice, differently.
    """
    name = obj.name or f"HTTPModel({urlsplit(obj.url).netloc}{urlsplit(obj.url).path})"
    options.refuse_placement(name)
    declared = {kind for kind in (obj.output, options.output) if kind != "auto"}
    if len(declared) > 1:
        raise InputError(f"{name}: declared output={obj.output!r}, asked for output={options.output!r}; make them one")
    return Model(
        predict=obj,
        stream=obj,
        name=name,
        kind=declared.pop() if declared else "unknown",
        output_names=None if obj.output_names is None else tuple(str(label) for label in obj.output_names),
        place=to_numpy,
        fingerprint=obj.version,
        remote=Remote(
            obj.rows_per_request, obj.limits.concurrency, obj.limits.requests_per_minute, budgeted=obj.budget.requests is not None
        ),
    )
