"""Contracts on what goes in and what the model gets: containers, dtypes, layouts, wrong input, and models that go wrong."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from whybox.errors import InputError, ModelError, OptionError, OutputShapeError, OutputValueError, SchemaError, ShapeError
from whybox.testing._checks_bench import Bench, BrokenContractError, D, NotCheckedError, difference, expect, game, two_games
from whybox.testing._mixed import mixed_frame, mixed_game
from whybox.testing.faults import Answers, MutatesInput
from whybox.testing.models import RecordingModel, content_digest
from whybox.typing import Array, Floats, Rows


def global_generators_untouched(bench: Bench) -> None:
    """3. The generators that a user may have seeded are where they were."""
    states = {name: read for name, read in _GLOBAL_STATES.items() if name in sys.modules}
    explainer = bench.make(game)
    before = {name: read() for name, read in states.items()}
    explainer.explain(bench.x(2), **bench.few())
    changed = [name for name, read in states.items() if read() != before[name]]
    expect(not changed, "the global generators as they were", f"{changed} moved on", "draw from generator(seed, ...) only")


# Looked up by name: the rules of this library forbid naming the global generators in its source, so that nothing draws from them.
_GLOBAL_STATES: dict[str, Callable[[], object]] = {
    "random": lambda: sys.modules["random"].getstate(),
    "numpy.random": lambda: repr(sys.modules["numpy.random"].get_state(legacy=False)),
    "torch": lambda: sys.modules["torch"].get_rng_state().numpy().tobytes(),
}


def inputs_untouched(bench: Bench) -> None:
    """3. x and the background keep their values, the model gets rows of its own, and may overwrite them."""
    x, background = bench.x(3), bench.background()
    before = content_digest(x), content_digest(background)
    model = RecordingModel(game, apart_from=(x, background))
    honest = bench.make(model, background).explain(x, **bench.few())
    expect(not model.aliased, "rows of the model's own", "a view of x or of the background", "compose rows through the space")
    spoilt = bench.make(MutatesInput(game), background).explain(x, **bench.few())
    expect((content_digest(x), content_digest(background)) == before, "x and background unchanged", "other values", "copy before writing")
    gap = difference(spoilt, honest)
    expect(not gap, "right values from a model that overwrites its input", gap, "never read rows again after the call")


def layout_changes_nothing(bench: Bench) -> None:
    """3. Read-only, memory-mapped, Fortran-ordered and strided arrays are explained like any other."""
    bench.only_tables("they lie in no array")
    x, background = bench.x(3), bench.background()
    plain = bench.make(game).explain(bench.x(3), **bench.few())
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "x.npy", x)
        mapped = np.load(Path(folder) / "x.npy", mmap_mode="r")
        read_only = x.copy()
        read_only.setflags(write=False)
        layouts: dict[str, tuple[Floats, Floats]] = {
            "read-only": (read_only, background),
            "memory-mapped": (mapped, background),
            "Fortran-ordered": (np.asfortranarray(x), np.asfortranarray(background)),
            "strided": (np.repeat(x, 2, axis=1)[:, ::2], np.repeat(background, 2, axis=1)[:, ::2]),
            "reversed": (x[::-1].copy()[::-1], background),
        }
        for name, (rows, reference) in layouts.items():
            gap = difference(bench.make(game, reference).explain(rows, **bench.few()), plain)
            expect(not gap, f"{name} arrays to be explained like any other", gap, "index, and never read memory in its own order")
        del mapped, rows, layouts  # Windows removes no file that is mapped


def numpy_dtype_is_kept(bench: Bench) -> None:
    """8. float32 rows reach the model as float32, and values agree with float64's."""
    _library_is_kept(bench, lambda a, dtype: a.astype(dtype), ("float64", "float32"))


def torch_is_kept(bench: Bench) -> None:
    """8. torch rows reach the model as torch tensors of their dtype on their device."""
    if find_spec("torch") is None:
        raise NotCheckedError("torch is not installed")
    import torch

    _library_is_kept(bench, lambda a, dtype: torch.asarray(a, dtype=getattr(torch, dtype)), ("float64", "float32"))


def array_api_is_kept(bench: Bench) -> None:
    """8. Rows of a library that offers the array API standard and nothing else reach the model in that library."""
    if find_spec("array_api_strict") is None:
        raise NotCheckedError("array_api_strict is not installed")
    import array_api_strict

    _library_is_kept(bench, lambda a, dtype: array_api_strict.asarray(a, dtype=getattr(array_api_strict, dtype)), ("float64",))


def cuda_equals_cpu(bench: Bench) -> None:
    """14. Rows on CUDA reach the model there, and the values are those of the CPU."""
    if find_spec("torch") is None:
        raise NotCheckedError("torch is not installed")
    import torch

    if not torch.cuda.is_available():
        raise NotCheckedError("torch sees no NVIDIA GPU")
    _library_is_kept(bench, lambda a, dtype: torch.asarray(a, dtype=getattr(torch, dtype), device="cuda"), ("float64", "float32"))


def _library_is_kept(bench: Bench, convert: Callable[[Floats, str], Array], dtypes: tuple[str, ...]) -> None:
    """The model gets what x is, and the values agree with NumPy's on the same numbers."""
    bench.only_tables("they have no dtype")
    for dtype in dtypes:
        x, background = bench.x(3).astype(dtype), bench.background().astype(dtype)  # rounded first, so that only arithmetic differs
        known = bench.make(game, background.astype(np.float64)).explain(x.astype(np.float64), **bench.few())
        ours = convert(x, dtype)
        wanted = type(ours), ours.dtype, getattr(ours, "device", None)
        seen: set[tuple[Any, ...]] = set()

        def watch(rows: Rows, seen: set[tuple[Any, ...]] = seen) -> Any:
            seen.add((type(rows), rows.dtype, getattr(rows, "device", None)))
            return game(rows)

        e = bench.make(watch, convert(background, dtype)).explain(ours, **bench.few())
        came = sorted(map(str, seen))
        expect(seen == {wanted}, f"the model to get {wanted}", came, "compose rows in the library, dtype and device of x")
        gap = difference(e, known, tolerance=1e-9 if dtype == "float64" else 1e-4)
        expect(not gap, f"the values of NumPy's float64, for {dtype} of {wanted[0].__module__}", gap, "solve in float64 whatever came in")


def frames_reach_the_model_unchanged(bench: Bench) -> None:
    """8. A DataFrame's columns, dtypes, categories, objects and missing values reach the model, and columns are matched by name."""
    import pandas as pd

    bench.only_tables("they have no columns")

    def same_kinds(a: Any, b: Any) -> bool:
        return list(a.dtypes.items()) == list(b.dtypes.items())

    x, background = mixed_frame(bench.x(4)), mixed_frame(bench.background())
    model = RecordingModel(mixed_game, keep=True)
    explainer = bench.make(model, background)
    e = explainer.explain(x, **bench.few())
    for batch in model.batches:
        whole = isinstance(batch, pd.DataFrame) and same_kinds(batch, x)
        came = dict(batch.dtypes) if isinstance(batch, pd.DataFrame) else type(batch).__name__
        expect(
            whole,
            f"a DataFrame with the columns and dtypes {dict(x.dtypes)}",
            came,
            "compose column by column, each in its dtype, also where pandas would guess another one from objects",
        )
    shuffled = x[x.columns[::-1]]
    gap = difference(explainer.explain(shuffled, **bench.few()), e)
    expect(not gap, "columns in another order to be matched by name", gap, "select columns by the background's names")
    try:
        explainer.explain(x.rename(columns={"size": "seize"}), **bench.few())
    except SchemaError:
        pass
    else:
        raise BrokenContractError("expected a SchemaError for a column of another name; came an explanation; match columns by name")


def bad_input_is_a_named_error(bench: Bench) -> None:
    """9. What cannot be explained is refused by name, before the model is asked."""
    x: Any = bench.x(3)
    seeds: dict[str, tuple[Any, dict[str, Any], type[Exception]]] = {
        f"seed={seed}": (x, {"seed": seed}, OptionError) for seed in (None, -1, 0.5)
    }
    cases: dict[str, tuple[Any, dict[str, Any], type[Exception]]] = {
        "no rows": (x[:0], {}, InputError),
        "no columns": (x[:, :0], {}, InputError),
        "one axis": (x[0], {}, ShapeError),
        "three axes": (x[None], {}, ShapeError),
        "a column short": (x[:, :-1], {}, SchemaError),
        "a column more": (np.hstack([x, x[:, :1]]), {}, SchemaError),
        "None": (None, {}, InputError),
        "a number": (3.0, {}, InputError),
        "rows of unequal length": ([[1.0] * D, [1.0]], {}, InputError),
    }
    if bench.texts:
        wrong = {"no rows": [], "one text": "a text", "None": None, "a number": 3.0, "a missing text": ["a", None], "rows of numbers": [x]}
        cases = {name: (rows, {}, InputError) for name, rows in wrong.items()}
    cases |= seeds
    model = RecordingModel(game)
    explainer = bench.make(model)
    before = model.n_calls
    for name, (rows, options, error) in cases.items():
        _refused(explainer, rows, {**bench.few(), **options}, name, error)
    expect(model.n_calls == before, "bad input to be refused before the model is asked", f"{model.n_calls - before} calls", "check first")
    explainer = bench.make(two_games)
    for target in (2, -3, "nobody", 0.5, True):
        _refused(explainer, x, {**bench.few(), "target": target}, f"target={target!r} of two outputs", OptionError)


def _refused(explainer: Any, rows: Any, options: dict[str, Any], name: str, error: type[Exception]) -> None:
    do = "refuse it, and say what was expected, what came and what to do"
    try:
        explainer.explain(rows, **options)
    except error as raised:
        expect(len(str(raised)) > 20, f"a message for {name}", repr(str(raised)), do)
    except Exception as raised:
        raise BrokenContractError(f"expected a {error.__name__} for {name}; came {type(raised).__name__}: {raised}; {do}") from raised
    else:
        raise BrokenContractError(f"expected a {error.__name__} for {name}; came an explanation; {do}")


def bad_output_is_a_named_error(bench: Bench) -> None:
    """9. A model's unusable answer is refused by name, never repaired."""
    cases: dict[str, tuple[Callable[[Floats], Any], type[ModelError]]] = {
        "NaN": (lambda y: np.where(np.arange(len(y)) == len(y) // 2, np.nan, y), OutputValueError),
        "infinity": (lambda y: np.where(np.arange(len(y)) == len(y) // 2, np.inf, y), OutputValueError),
        "text": (lambda y: np.array(["yes"] * len(y)), OutputValueError),
        "a row short": (lambda y: y[:-1], OutputShapeError),
        "a row more": (lambda y: np.append(y, y[-1:]), OutputShapeError),
        "None": (lambda _: None, OutputShapeError),
        "three axes": (lambda y: y[:, None, None], OutputShapeError),
    }
    for name, (change, error) in cases.items():
        _refused(bench.make(Answers(game, change)), bench.x(2), bench.few(), f"outputs with {name}", error)


@dataclass
class _BreaksDown:
    """Answers some calls, and raises at all that follow."""

    at: int
    error: type[BaseException]
    calls: int = 0

    def __call__(self, rows: Rows) -> Any:
        """The game, or the error."""
        self.calls += 1
        if self.calls > self.at:
            raise self.error("the model broke down")
        return game(rows)


def model_errors_pass_through(bench: Bench) -> None:
    """9. What the model raises comes out as it is, with a note that names the batch."""
    for at, error in ((0, ZeroDivisionError), (1, LookupError), (1, KeyboardInterrupt)):
        explainer = bench.make(_BreaksDown(at, error), batch_size=64)
        do = "let the model's exceptions through; the engine adds the note"
        try:
            explainer.explain(bench.x(3), **bench.few())
        except BaseException as raised:
            if type(raised) is not error:
                raise BrokenContractError(
                    f"expected the model's {error.__name__}; came {type(raised).__name__}: {raised}; {do}"
                ) from raised
            notes = " ".join(getattr(raised, "__notes__", []))
            expect("batch of" in notes, "a note that names the batch", repr(notes), do)
        else:
            raise BrokenContractError(f"expected the model's {error.__name__}; came an explanation; {do}")
