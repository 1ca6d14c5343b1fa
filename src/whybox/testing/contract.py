"""check_explainer: the contracts that every explainer keeps, each a check that anybody can run on an explainer of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from inspect import getdoc
from typing import Literal

from whybox.errors import OptionError
from whybox.testing import _checks_calls, _checks_inputs, _checks_results, _checks_values
from whybox.testing._checks_bench import (
    Bench,
    BrokenContractError,
    Factory,
    NotCheckedError,
    Reference,
    Traits,
    game,
    occlusion_values,
    shapley_values,
)

__all__ = [
    "CHECKS",
    "ContractError",
    "ContractReport",
    "Factory",
    "Finding",
    "Reference",
    "Traits",
    "check_explainer",
    "examine_explainer",
    "occlusion_values",
    "shapley_values",
]

Level = Literal["passed", "excused", "skipped", "failed"]

_ALL: tuple[Callable[[Bench], None], ...] = (
    _checks_calls.construction_asks_nothing,
    _checks_calls.same_seed_same_bits,
    _checks_calls.other_seed_other_queries,
    _checks_inputs.global_generators_untouched,
    _checks_inputs.inputs_untouched,
    _checks_inputs.layout_changes_nothing,
    _checks_calls.subset_gives_subset,
    _checks_calls.chunk_size_changes_nothing,
    _checks_calls.n_queries_is_what_the_model_saw,
    _checks_calls.limits_hold,
    _checks_calls.repeated_rows_cost_nothing,
    _checks_calls.repeated_rows_are_alike,
    _checks_inputs.numpy_dtype_is_kept,
    _checks_inputs.torch_is_kept,
    _checks_inputs.array_api_is_kept,
    _checks_inputs.frames_reach_the_model_unchanged,
    _checks_inputs.bad_input_is_a_named_error,
    _checks_inputs.bad_output_is_a_named_error,
    _checks_inputs.model_errors_pass_through,
    _checks_values.predictions_are_the_models,
    _checks_values.target_picks_an_output,
    _checks_values.base_values_are_the_background_mean,
    _checks_values.efficiency,
    _checks_values.dummy_gets_nothing,
    _checks_values.symmetric_features_share,
    _checks_values.linear_in_the_model,
    _checks_values.agrees_with_brute_force,
    _checks_values.exact_on_linear_models,
    _checks_values.standard_errors_are_there,
    _checks_values.no_error_where_exact,
    _checks_values.intervals_cover,
    _checks_results.pickle_round_trip,
    _checks_results.save_round_trip,
    _checks_inputs.cuda_equals_cpu,
    _checks_calls.explain_leaves_the_explainer,
    _checks_calls.threads_equal_serial,
    _checks_calls.checkpoint_goes_on,
    _checks_results.no_secret_in_artefacts,
)
CHECKS: Mapping[str, Callable[[Bench], None]] = {check.__name__: check for check in _ALL}


class ContractError(AssertionError):
    """An explainer breaks contracts; the message lists every one of them."""


@dataclass(frozen=True)
class Finding:
    """One check and what it found.

    Args:
        name: the check, a key of ``CHECKS``.
        level: "passed"; "excused": it fails, and ``detail`` says why it may; "skipped": it cannot run here, and ``detail`` says why;
            "failed".
        detail: for a failure what was expected, what came, and what to do.
    """

    name: str
    level: Level
    detail: str = ""


@dataclass(frozen=True)
class ContractReport:
    """What :func:`check_explainer` found; ``print(report)`` to read it.

    Args:
        explainer: its name.
        findings: one a check.
    """

    explainer: str
    findings: tuple[Finding, ...]

    def names(self, level: Level) -> tuple[str, ...]:
        """The checks with this outcome."""
        return tuple(finding.name for finding in self.findings if finding.level == level)

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return not self.names("failed")

    def raise_if_failed(self) -> None:
        """Raise if a check failed.

        Raises:
            ContractError: with every failed check.
        """
        failed = [finding for finding in self.findings if finding.level == "failed"]
        if failed:
            lines = [f"  {finding.name}: {finding.detail}" for finding in failed]
            raise ContractError(f"{self.explainer} breaks {len(failed)} of {len(self.findings)} contracts:\n" + "\n".join(lines))

    def __str__(self) -> str:
        counts = ", ".join(f"{len(self.names(level))} {level}" for level in ("passed", "excused", "skipped", "failed"))
        width = max((len(finding.name) for finding in self.findings), default=0)
        lines = [f"  {f.level:<7}  {f.name:<{width}}  {f.detail}".rstrip() for f in self.findings]
        return "\n".join([f"{self.explainer}: {counts}", *lines])


def check_explainer(
    factory: Factory,
    *,
    traits: Traits | None = None,
    excuse: Mapping[str, str] | None = None,
    only: Iterable[str] | None = None,
    name: str | None = None,
) -> ContractReport:
    """Check that an explainer keeps the contracts of whybox.

    The explainers of this library pass it, and so should one of yours. Models are small functions over 8 features (20 in one check).

    Args:
        factory: ``factory(model, background, engine)`` makes the explainer; a class with these arguments needs a lambda.
        traits: how to use the explainer: budgets, and what it estimates. By default Shapley values, with ``budget=`` in coalitions.
        excuse: name of a check to the reason why the explainer need not pass it. An excused check that passes is a failure: the excuse
            has outlived its reason.
        only: names of the checks to run; None (default) runs all.
        name: for messages; None takes the name of the explainer's class.

    Returns:
        The report, if nothing failed.

    Raises:
        ContractError: a contract is broken; the message lists all of them.
        OptionError: a check that does not exist, or an excuse without a reason.

    Example:
        >>> from whybox.explainers import ExactSHAP
        >>> from whybox.testing import Traits, check_explainer
        >>> def exact(model, background, engine):
        ...     return ExactSHAP(model, background, engine=engine)
        >>> report = check_explainer(exact, traits=Traits(few=None), only=["efficiency", "dummy_gets_nothing"])
        >>> print(report)
        ExactSHAP: 2 passed, 0 excused, 0 skipped, 0 failed
          passed   efficiency
          passed   dummy_gets_nothing
    """
    report = examine_explainer(factory, traits=traits, excuse=excuse, only=only, name=name)
    report.raise_if_failed()
    return report


def examine_explainer(
    factory: Factory,
    *,
    traits: Traits | None = None,
    excuse: Mapping[str, str] | None = None,
    only: Iterable[str] | None = None,
    name: str | None = None,
) -> ContractReport:
    """As :func:`check_explainer`, and failures are in the report rather than raised."""
    excuse = dict(excuse or {})
    names = list(CHECKS) if only is None else list(only)
    unknown = [check for check in [*names, *excuse] if check not in CHECKS]
    if unknown:
        raise OptionError(f"there are no checks {unknown}; expected some of {list(CHECKS)}")
    unreasoned = [check for check, reason in excuse.items() if not reason.strip()]
    if unreasoned:
        raise OptionError(f"excuse: {unreasoned} have no reason; say why the explainer need not pass them")
    bench = Bench(factory, traits or Traits())
    if name is None:
        name = type(bench.make(game)).__name__
    return ContractReport(name, tuple(_find(check, bench, excuse.get(check)) for check in names))


def _find(name: str, bench: Bench, reason: str | None) -> Finding:
    try:
        CHECKS[name](bench)
    except NotCheckedError as skip:
        return Finding(name, "skipped", str(skip))
    except BrokenContractError as broken:
        detail = str(broken)
    except Exception as error:  # noqa: BLE001  # a check that ends in any other error has failed as well
        contract = (getdoc(CHECKS[name]) or name).splitlines()[0]
        detail = f"expected: {contract} Came {type(error).__name__}: {error}; run only=[{name!r}] in a debugger to see where"
    else:
        if reason is None:
            return Finding(name, "passed")
        return Finding(name, "failed", f"expected to fail ({reason}); came a pass; remove the excuse")
    return Finding(name, "failed", detail) if reason is None else Finding(name, "excused", reason)
