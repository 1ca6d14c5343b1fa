"""Small matrices are factorised on one thread, and the process gets its threads back."""

import os
import warnings
from contextlib import contextmanager
from threading import Barrier, Thread
from time import sleep

import numpy as np
import pytest
import scipy.linalg  # noqa: F401  # loads its own BLAS
from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

import whybox as wb
from whybox.samplers import coalitions
from whybox.solvers import control_variate, least_squares, local_linear, odd_gp
from whybox.solvers._threads import one_blas_thread, threads_for
from whybox.solvers.least_squares import solve_least_squares
from whybox.solvers.odd_gp import solve_odd_gp
from whybox.solvers.spectral_gp import Guide


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


def many_at_once(limit):
    """How many threads of BLAS four threads of Python see inside, time and again, and how many are left."""
    seen = set()

    def work():
        for _ in range(20):
            with limit():
                seen.update(threads().values())
                sleep(0.001)
                seen.update(threads().values())

    four = [Thread(target=work) for _ in range(4)]
    for one in four:
        one.start()
    for one in four:
        one.join()
    return seen, set(threads().values())


@contextmanager
def put_back_while_others_are_inside():
    give(1)
    yield
    give(3)


@pytest.mark.usefixtures("three")
def test_every_thread_finds_one_thread_from_beginning_to_end():
    assert many_at_once(one_blas_thread) == ({1}, {3})
    assert many_at_once(put_back_while_others_are_inside)[0] == {1, 3}
    give(2)  # somebody's own wish
    with one_blas_thread():
        assert set(threads().values()) == {1}
    assert set(threads().values()) == {2}


@pytest.mark.usefixtures("three")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_while_somebody_is_inside_leaves_the_child_a_way_in():
    with one_blas_thread():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # BLAS has threads
            child = os.fork()
        if not child:
            entered = []
            one = Thread(target=lambda: entered.append(_inside_at_once()), daemon=True)
            one.start()
            one.join(20)
            os._exit(0 if entered == [True] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _inside_at_once():
    with one_blas_thread():
        return True


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


CODES = coalitions(8, 60, np.random.default_rng(0))
GAME = (CODES[:, 0] & CODES[:, 1] & CODES[:, 2]).astype(float)[None]
ENDS = np.zeros(1), np.ones(1)
ROWS = np.random.default_rng(1).normal(size=(40, 8))


def lime():
    wb.LIME(lambda x: np.tanh(x[:, 0]) * x[:, 1], ROWS, min_score=None).explain(ROWS[:2], budget=200)


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(("where", "name", "run"), [
    (odd_gp, "factorised", lambda: solve_odd_gp(CODES, GAME, *ENDS)),
    (least_squares, "_pseudo_inverse", lambda: solve_least_squares(CODES, GAME, *ENDS)),
    (control_variate, "apply_each", lambda: control_variate.control_coefficients(CODES, GAME, *ENDS, Guide(np.zeros((1, 8)), GAME, *ENDS))),
    (local_linear, "moments", lime),
    (np.linalg, "solve", lime),  # of the control variate
], ids=["odd GP", "least squares", "fitted surrogate", "local fit", "LIME's control variate"])  # fmt: skip
def test_what_last_digits_depend_on_is_found_on_one_thread(where, name, run, monkeypatch):
    """OpenBLAS rounds what it shares out among threads otherwise, and workers have other threads than the process that started them."""
    seen = []
    plain = getattr(where, name)

    def watched(*args, **options):
        seen.append(set(threads().values()))
        return plain(*args, **options)

    monkeypatch.setattr(where, name, watched)
    run()
    assert seen
    assert all(one == {1} for one in seen)
    assert set(threads().values()) == {3}
