"""Small matrices are factorised on one thread, and the process gets its threads back."""

from contextlib import contextmanager
from threading import Barrier, Thread

import numpy as np
import pytest
import scipy.linalg  # noqa: F401  # loads its own BLAS
from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

from whybox.samplers import coalitions
from whybox.solvers import odd_gp
from whybox.solvers._threads import one_blas_thread, threads_for
from whybox.solvers.odd_gp import solve_odd_gp


def threads():
    return {library["filepath"]: library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def give(n):
    """So many threads, given by a thread that ends: threadpoolctl lets no other thread set them while the one that did is alive."""
    one = Thread(target=lambda: ThreadpoolController().limit(limits=n, user_api="blas"))
    one.start()
    one.join()


@pytest.fixture
def three():
    """Three threads to begin with; skips where BLAS does not say how many it has."""
    before = threads()
    give(3)
    if not before or set(threads().values()) != {3}:
        pytest.skip("BLAS is built for one thread, or does not tell")
    yield
    give(next(iter(before.values())))


@pytest.mark.usefixtures("three")
def test_threads_are_put_back_also_after_an_error():
    with one_blas_thread():
        assert set(threads().values()) == {1}
        with one_blas_thread():
            assert set(threads().values()) == {1}
        assert set(threads().values()) == {1}
    assert set(threads().values()) == {3}
    with pytest.raises(ZeroDivisionError), one_blas_thread():
        raise ZeroDivisionError
    assert set(threads().values()) == {3}


def overlapping(limit):
    """Threads while two overlap, inside the second after the first has left, and at the end."""
    steps, seen = [Barrier(2) for _ in range(3)], []

    def first():
        with limit():
            steps[0].wait()
            steps[1].wait()
        steps[2].wait()

    def second():
        steps[0].wait()
        with limit():
            seen.append(set(threads().values()))
            steps[1].wait()
            steps[2].wait()
            seen.append(set(threads().values()))

    both = [Thread(target=first), Thread(target=second)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    return [*seen, set(threads().values())]


@pytest.mark.usefixtures("three")
def test_a_fit_that_begins_meanwhile_does_not_put_one_thread_back():
    steps = [Barrier(2) for _ in range(3)]

    def solver():
        with one_blas_thread():
            steps[0].wait()
            steps[1].wait()
        steps[2].wait()

    def fit(limit):
        steps[0].wait()
        with limit():
            steps[1].wait()
            steps[2].wait()

    for limit, left in ((lambda: threads_for(100), 3), (lambda: threadpool_limits(limits=1, user_api="openmp"), 1)):
        both = [Thread(target=solver), Thread(target=fit, args=[limit])]
        for one in both:
            one.start()
        for one in both:
            one.join()
        assert set(threads().values()) == {left}


@contextmanager
def never_put_back():
    give(1)
    yield


@pytest.mark.usefixtures("three")
def test_threads_that_overlap_leave_the_process_as_it_was():
    assert overlapping(one_blas_thread) == [{1}, {3}, {3}]
    assert overlapping(never_put_back) == [{1}, {1}, {1}]
    give(2)  # somebody's own wish
    with one_blas_thread():
        assert set(threads().values()) == {1}
    assert set(threads().values()) == {2}


@pytest.mark.usefixtures("three")
def test_the_odd_process_works_on_one_thread(monkeypatch):
    seen = []
    plain = odd_gp.factorised

    def watched(*args):
        seen.append(set(threads().values()))
        return plain(*args)

    monkeypatch.setattr(odd_gp, "factorised", watched)
    codes = coalitions(8, 60, np.random.default_rng(0))
    game = (codes[:, 0] & codes[:, 1] & codes[:, 2]).astype(float)[None]
    solve_odd_gp(codes, game, np.zeros(1), np.ones(1))
    assert seen
    assert all(one == {1} for one in seen)
    assert set(threads().values()) == {3}
