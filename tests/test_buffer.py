"""Memory that is written again must never be seen to change by whoever still looks at it."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest

import whybox as wb
from whybox._buffer import Buffer, append

RNG = np.random.default_rng(0)
BACKGROUND, X = RNG.normal(size=(30, 6)), RNG.normal(size=(4, 6))
COUNTED = hasattr(sys, "getrefcount")


def linear(rows: np.ndarray) -> np.ndarray:
    return rows @ np.arange(1.0, 7.0)


class Remembers:
    """Keeps every row it was shown, as itself, as a view or as a tensor, and what it looked like then."""

    def __init__(self, keep: Callable[[np.ndarray], object]) -> None:
        self._keep, self.kept, self.seen = keep, [], []

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        self.kept.append(self._keep(rows))
        self.seen.append(rows.copy())
        return linear(rows)

    def changed(self) -> bool:
        return not all(np.array_equal(np.asarray(kept)[: len(seen)], seen) for kept, seen in zip(self.kept, self.seen, strict=True))


def tensor(rows: np.ndarray) -> object:
    import torch

    return torch.from_numpy(rows)


KEEPERS = {"array": lambda rows: rows, "view": lambda rows: rows[:, :], "memoryview": memoryview, "tensor": tensor}


def explained(model: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return wb.KernelSHAP(model, BACKGROUND, engine=wb.Engine(batch_size=300)).explain(X, budget=32, seed=1).values


@pytest.mark.parametrize("name", KEEPERS)
def test_rows_that_a_model_keeps_stay_as_they_were(name: str) -> None:
    if name == "tensor":
        pytest.importorskip("torch")
    model = Remembers(KEEPERS[name])
    values = explained(model)
    assert len(model.kept) > 5
    assert not model.changed()
    assert np.array_equal(values, explained(linear))


def test_saboteur_memory_that_does_not_ask_who_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Buffer, "_holders", lambda self: 1)
    model = Remembers(KEEPERS["array"])
    explained(model)
    assert model.changed()


@pytest.mark.skipif(not COUNTED, reason="this interpreter does not count references")
def test_a_model_that_keeps_nothing_is_shown_the_same_memory() -> None:
    places: list[int] = []

    def model(rows: np.ndarray) -> np.ndarray:
        places.append(rows.ctypes.data)
        return linear(rows)

    explained(model)
    assert len(set(places[-5:])) == 1


def test_without_counts_all_memory_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sys, "getrefcount", raising=False)
    buffer = Buffer()
    first = buffer.bytes(64)
    first[:] = 1
    second = buffer.bytes(64)
    second[:] = 2
    assert (first == 1).all()


class OneArray:
    """Writes every answer into one array of its own, and hands out a view."""

    def __init__(self) -> None:
        self._answers = np.empty(100_000)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        out = self._answers[: len(rows)]
        np.matmul(rows, np.arange(1.0, 7.0), out=out)
        return out


@pytest.mark.parametrize("estimator", [wb.KernelSHAP, wb.PermutationSHAP])
@pytest.mark.parametrize("batch", [64, 300, "auto"])
def test_a_model_may_write_its_answers_over_its_last_ones(estimator: type, batch: int | str) -> None:
    def values(model: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        return estimator(model, BACKGROUND, engine=wb.Engine(batch_size=batch)).explain(X, budget=64, seed=1).values

    np.testing.assert_allclose(values(OneArray()), values(linear), rtol=0, atol=1e-12)


def test_a_model_may_answer_with_its_rows_and_write_into_them() -> None:
    def first_column(rows: np.ndarray) -> np.ndarray:
        answer = rows[:, 0]
        answer *= 2.0
        return answer

    values = explained(first_column)
    np.testing.assert_allclose(values[:, 0], 2 * (X[:, 0] - BACKGROUND[:, 0].mean()), atol=1e-12)
    np.testing.assert_allclose(values[:, 1:], 0.0, atol=1e-12)


def test_threads_share_an_explainer() -> None:
    explainer = wb.KernelSHAP(linear, BACKGROUND, engine=wb.Engine(batch_size=100))
    alone = explainer.explain(X, budget=32, seed=1).values
    results: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: results.append(explainer.explain(X, budget=32, seed=1).values)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(np.array_equal(values, alone) for values in results)


def test_many_threads_take_from_one_buffer() -> None:
    buffer, mixed = Buffer(), []

    def work(mark: int) -> None:
        for _ in range(300):
            mine = buffer.bytes(2000)
            mine[:] = mark
            if not (mine == mark).all():
                mixed.append(mark)

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mixed == []


def test_a_copy_has_memory_of_its_own() -> None:
    buffer = Buffer()
    mine = buffer.bytes(64)
    for copied in (copy.deepcopy(buffer), pickle.loads(pickle.dumps(buffer))):  # made here
        assert not np.shares_memory(mine, copied.bytes(64))


@pytest.mark.parametrize(
    ("rows", "more"),
    [
        (np.ones((3, 2)), np.zeros((1, 2))),  # no memory of a buffer
        (Buffer().bytes(64).view(np.float64).reshape(4, 2)[1:], np.zeros((1, 2))),  # not its front
        (Buffer().bytes(64).view(np.float64).reshape(4, 2), np.zeros((9, 2))),  # more than stands behind
        (Buffer().bytes(6400).view(np.float64).reshape(400, 2)[:, :1], np.zeros((1, 1))),  # other rows between
        (Buffer().bytes(6400).view(np.float64).reshape(400, 2), np.zeros((1, 2), dtype=np.float32)),
        (Buffer().bytes(6400).view(np.float64).reshape(400, 2), np.zeros((2, 2))),
    ],
)
def test_appended_rows_stand_behind(rows: np.ndarray, more: np.ndarray) -> None:
    rows[:] = np.arange(rows.size, dtype=float).reshape(rows.shape)
    expected = np.concatenate([rows, more])
    both = append(rows, more)
    assert both.dtype == expected.dtype
    assert np.array_equal(both, expected)
