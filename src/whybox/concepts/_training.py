"""Gradient descent for the small torch models of this room: early stopping, checkpoints that go on bit by bit, seeds, progress."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from whybox._random import generator, torch_stream
from whybox.errors import CheckpointError, InputError, MissingDependencyError, ModelError, OptionError
from whybox.explanations._save import atomic
from whybox.typing import Ints

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import ModuleDict

FORMAT, VERSION = "whybox.training", 1
# Examples (positions) and a generator for whatever the loss draws; the mean loss of these examples.
Loss = Callable[[Ints, np.random.Generator], "Tensor"]


@dataclass(frozen=True)
class TrainingOptions:
    """How a small torch model is trained: AdamW on batches, until the validation loss no longer falls.

    Args:
        epochs: the most passes over the data. Default 60.
        batch_size: examples a step. Default 64; a few for a transformer that is trained itself.
        learning_rate: Default 3e-3, for a head on features; 2e-5 is usual for a transformer that is trained itself.
        weight_decay: Default 0.01.
        patience: epochs without a lower validation loss after which training ends. Default 3.
        validation: share of the originals whose loss decides when to stop. Default 0.15.
        clip: the largest norm of a step's gradient. Default 1.
        save_seconds: with a checkpoint, the longest time between two writes of it. Default 30.

    Raises:
        OptionError: a value is out of its range.

    Example:
        >>> TrainingOptions(epochs=12, learning_rate=5e-6).patience
        3
    """

    epochs: int = 60
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    patience: int = 3
    validation: float = 0.15
    clip: float = 1.0
    save_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise OptionError(f"{name}: expected a positive integer, got {value!r}")
        for name, low, high in (
            ("learning_rate", 0.0, 1.0),
            ("weight_decay", -1e-12, np.inf),
            ("validation", 0.0, 1.0),
            ("clip", 0.0, np.inf),
            ("save_seconds", -1e-12, np.inf),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not low < value < high:
                raise OptionError(f"{name}: expected a number between {max(low, 0.0):g} and {high:g}, got {value!r}")


@dataclass(frozen=True)
class TrainingHistory:
    """What happened in training.

    Args:
        train: mean training loss of each epoch.
        validation: validation loss before the first epoch, then after each.
        best: the epoch whose weights were kept; 0 is the start.
        stopped: "patience" or "epochs".
        seconds: wall seconds, those before an interruption included.

    Example:
        >>> TrainingHistory((1.0, 0.5), (1.2, 0.9, 0.95), 1, "epochs", 3.0).best
        1
    """

    train: tuple[float, ...]
    validation: tuple[float, ...]
    best: int
    stopped: str
    seconds: float = field(default=0.0, compare=False)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> TrainingHistory:
        """A history that went through JSON."""
        return cls(**{**plain, "train": tuple(plain["train"]), "validation": tuple(plain["validation"])})


def split(groups: Ints, share: float, seed: int, *names: str) -> tuple[Ints, Ints]:
    """Positions for training and for validation; a group (an original with its edits) is on one side.

    Raises:
        InputError: there are fewer than two groups.
    """
    distinct = np.unique(groups)
    if len(distinct) < 2:
        raise InputError(f"training: expected texts of at least two originals, one of them for validation, got {len(distinct)}")
    shuffled = generator(seed, *names, "validation").permutation(distinct)
    held = shuffled[: min(max(round(share * len(distinct)), 1), len(distinct) - 1)]
    aside = np.isin(groups, held)
    return np.flatnonzero(~aside), np.flatnonzero(aside)


@dataclass
class _State:
    epoch: int = 0  # epochs done
    step: int = 0  # steps done of the running epoch
    running: float = 0.0
    train: tuple[float, ...] = ()
    validation: tuple[float, ...] = ()
    best: int = 0
    stopped: str = ""
    seconds: float = 0.0


def fit(
    modules: ModuleDict,
    loss: Loss,
    *,
    train: Ints,
    validation: Ints,
    options: TrainingOptions,
    seed: int,
    name: str,
    device: Any = None,
    checkpoint: str | PathLike[str] | None = None,
    job: str = "",
    keep: Literal["best", "last"] = "best",
    progress: bool = False,
) -> TrainingHistory:
    """Train modules in place.

    Every draw is a function of the seed, the epoch and the step, so that a run that was killed goes on with the same bits.

    Args:
        modules: what is trained. In training mode during a step, in eval mode otherwise and afterwards.
        loss: mean loss of some examples.
        train: positions of the examples to train on.
        validation: positions of those that decide when to stop.
        options: how.
        seed: of order, dropout, and whatever the loss draws.
        name: of the stream of draws, also shown by the progress bar.
        device: where dropout draws.
        checkpoint: path of the file that training goes on from, or None.
        job: identifies data and settings; a checkpoint of another job is refused.
        keep: the weights of the epoch of the lowest validation loss (default), or the last ones.
        progress: show a bar of epochs.

    Raises:
        CheckpointError: the checkpoint belongs to another job, or is damaged.
        ModelError: the loss is NaN or infinite.
    """
    import torch

    parameters = [p for p in modules.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=options.learning_rate, weight_decay=options.weight_decay)
    state, best = _State(), _copy(modules)
    if checkpoint is not None and Path(checkpoint).exists():
        state, best = _resume(checkpoint, job, modules, optimizer)
    began, spent = time.perf_counter(), state.seconds
    saved = began

    def save(*, force: bool) -> None:
        nonlocal saved
        now = time.perf_counter()
        state.seconds = spent + now - began
        if checkpoint is not None and (force or now - saved >= options.save_seconds):
            _save(checkpoint, job, modules, best, optimizer, state)
            saved = time.perf_counter()

    def judge() -> float:
        modules.eval()
        parts = [validation[i : i + options.batch_size] for i in range(0, len(validation), options.batch_size)]
        with torch.no_grad():
            losses = [float(loss(part, generator(seed, name, "validate", i))) * len(part) for i, part in enumerate(parts)]
        return sum(losses) / len(validation)

    modules.eval()
    if not state.validation:
        state.validation = (judge(),)
    bar = _bar(options.epochs, name) if progress else None
    if bar is not None:
        bar.update(state.epoch)
    while not state.stopped:
        order = generator(seed, name, "order", state.epoch).permutation(train)
        n_steps = -(-len(order) // options.batch_size)
        while state.step < n_steps:
            part = order[state.step * options.batch_size : (state.step + 1) * options.batch_size]
            modules.train()
            with torch_stream(seed, name, "dropout", state.epoch, state.step, device=device):
                value = loss(part, generator(seed, name, "draw", state.epoch, state.step))
                optimizer.zero_grad(set_to_none=True)
                value.backward()  # type: ignore[no-untyped-call]  # torch annotates it in part
            torch.nn.utils.clip_grad_norm_(parameters, options.clip)
            if not np.isfinite(found := float(value.detach())):
                raise ModelError(f"{name}: the loss is {found} in epoch {state.epoch + 1}; lower learning_rate, or look at the features")
            optimizer.step()
            state.running += found * len(part)
            state.step += 1
            save(force=False)
        state.train = (*state.train, state.running / len(train))
        state.validation = (*state.validation, judge())
        state.epoch, state.step, state.running = state.epoch + 1, 0, 0.0
        if state.validation[-1] < state.validation[state.best]:
            state.best, best = state.epoch, _copy(modules)
        if state.epoch - state.best >= options.patience:
            state.stopped = "patience"
        elif state.epoch >= options.epochs:
            state.stopped = "epochs"
        save(force=bool(state.stopped))
        if bar is not None:
            bar.update(1)
            bar.set_postfix(loss=round(state.validation[-1], 4), best=state.best)
    if bar is not None:
        bar.close()
    if keep == "best":
        modules.load_state_dict(best)
    modules.eval()
    return TrainingHistory(state.train, state.validation, state.best, state.stopped, state.seconds)


def _copy(modules: ModuleDict) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in modules.state_dict().items()}


def _bar(epochs: int, name: str) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=epochs, desc=name, unit=" epochs")


def _save(path: str | PathLike[str], job: str, modules: ModuleDict, best: Mapping[str, Tensor], optimizer: Any, state: _State) -> None:
    tensors = {f"now.{key}": value for key, value in modules.state_dict().items()}
    tensors |= {f"best.{key}": value for key, value in best.items()}
    for i, values in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{i}.{key}": value for key, value in values.items()}
    write_tensors(path, tensors, {"format": FORMAT, "version": VERSION, "job": job, "state": vars(state)})


def _resume(path: str | PathLike[str], job: str, modules: ModuleDict, optimizer: Any) -> tuple[_State, dict[str, Tensor]]:
    tensors, header = read_tensors(path, FORMAT, VERSION, CheckpointError)
    if header.get("job") != job:
        raise CheckpointError(
            f"{fspath(path)}: belongs to a training with other texts, settings or seed; pass another path, or remove the file to start anew"
        )
    parts: dict[str, dict[str, Tensor]] = {"now": {}, "best": {}, "adam": {}}
    for key, value in tensors.items():
        kind, _, rest = key.partition(".")
        parts[kind][rest] = value
    adam: dict[int, dict[str, Tensor]] = {}
    for key, value in parts["adam"].items():
        number, _, rest = key.partition(".")
        adam.setdefault(int(number), {})[rest] = value
    modules.load_state_dict(parts["now"])
    optimizer.load_state_dict(optimizer.state_dict() | {"state": adam})
    state = _State(**header["state"])
    return replace(state, train=tuple(state.train), validation=tuple(state.validation)), parts["best"]


def write_tensors(path: str | PathLike[str], tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """A safetensors file with a JSON header, at once or not at all."""
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise MissingDependencyError("safetensors", "torch", "saving weights") from error
    ready = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    with atomic(path) as file:
        file.write(save(ready, {"whybox": json.dumps(header)}))


def read_tensors(
    path: str | PathLike[str], form: str, version: int, error: type[Exception] = InputError
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of what :func:`write_tensors` wrote.

    Raises:
        InputError: (or the given error) it is not such a file, of a newer version, or damaged.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as missing:
        raise MissingDependencyError("safetensors", "torch", "reading weights") from missing
    name = fspath(path)
    try:
        with safe_open(name, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("whybox", "null"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # it is no mapping
    except (SafetensorError, ValueError) as damage:
        raise error(f"{name}: not a safetensors file, or damaged ({damage})") from damage
    if not isinstance(header, dict) or header.get("format") != form:
        raise error(f"{name}: expected a safetensors file of format {form!r}, written by whybox")
    if not isinstance(header.get("version"), int) or header["version"] > version:
        raise error(f"{name}: has format version {header.get('version')!r}, and this whybox reads up to {version}; install a newer whybox")
    return tensors, header
