"""The estimators of shap and shapiq over a game of 0/1 vectors, at a given number of coalitions.

Every peer is handed the game itself, v(code), so that none of them pays for its way of composing rows: only the estimates are compared.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Value = Callable[[NDArray[np.bool_]], Floats]
Peer = Callable[[Value, int, int, int], Floats]  # game, d, coalitions with the empty and the full one, seed -> values (d,)


class SkippedError(Exception):
    """The peer cannot be run at this budget; the message says why."""


def shap_permutation(game: Value, d: int, budget: int, seed: int) -> Floats:
    """shap's PermutationExplainer; it rounds the budget down to whole antithetic permutations of 2 d + 1 evaluations."""
    import shap

    if budget < 2 * d:
        raise SkippedError(f"needs {2 * d} coalitions")
    explainer = shap.explainers.Permutation(lambda z: game(z.astype(bool)), np.zeros((1, d)), seed=seed)
    rounds = max(budget // (2 * d), 1)  # an antithetic permutation asks for 2 (d - 1) new coalitions
    out = explainer(np.ones((1, d)), max_evals=rounds * (2 * d + 1), silent=True).values[0]
    return np.asarray(out, dtype=np.float64)


def shap_kernel(game: Value, d: int, budget: int, seed: int) -> Floats:
    """shap's KernelExplainer with its selection of features off."""
    import shap

    np.random.seed(seed)  # noqa: NPY002  # KernelExplainer draws from the global generator
    explainer = shap.KernelExplainer(lambda z: game(z.astype(bool)), np.zeros((1, d)))
    out = explainer.shap_values(np.ones((1, d)), nsamples=budget - 2, l1_reg=False, silent=True)[0]
    return np.asarray(out, dtype=np.float64)


def _shapiq(name: str, **options: object) -> Peer:
    def run(game: Value, d: int, budget: int, seed: int) -> Floats:
        import shapiq.approximator

        if not hasattr(shapiq.approximator, name):
            raise SkippedError("not in the installed shapiq")
        try:
            found = getattr(shapiq.approximator, name)(d, random_state=seed, **options).approximate(budget=budget, game=game)
        except (ValueError, np.linalg.LinAlgError) as error:
            raise SkippedError(str(error).splitlines()[0]) from error
        return np.array([float(found[(i,)]) for i in range(d)])

    return run


PEERS: dict[str, Peer] = {
    "shap Permutation": shap_permutation,
    "shap Kernel (l1 off)": shap_kernel,
    "shapiq KernelSHAP paired": _shapiq("KernelSHAP", pairing_trick=True),
    "shapiq LeverageSHAP": _shapiq("LeverageSHAP"),
    "shapiq OddSHAP": _shapiq("OddSHAP"),
}
# seconds a row, for larger errors than the others in a trial on breast_cancer; to be asked for by name
SLOW_PEERS: dict[str, Peer] = {
    "shapiq RegressionMSR": _shapiq("RegressionMSR", index="SV"),
    "shapiq ProxySHAP": _shapiq("ProxySHAP", index="SV"),
}
ALL_PEERS = PEERS | SLOW_PEERS
