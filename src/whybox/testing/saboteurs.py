"""Explainers that are wrong in one way each: they prove that every contract check can fail.

A saboteur wraps an explainer that keeps all contracts and breaks one of them, the way real libraries have broken it. It names the check
that must catch it, and the other checks that cannot but notice as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from whybox.engine import Engine
from whybox.models import as_model
from whybox.testing import _sabotage_call, _sabotage_explainer, _sabotage_model, _sabotage_result
from whybox.testing._checks_bench import Factory

Sabotage = Callable[[Factory], Factory]


@dataclass(frozen=True)
class Saboteur:
    """A way of being wrong.

    Args:
        name: what is wrong, in a few words.
        caught_by: the check that must catch it.
        make: the factory of an explainer that keeps the contracts, to one of an explainer that does not.
        also: other checks that notice the same wrong, since what they look at depends on it.
    """

    name: str
    caught_by: str
    make: Sabotage
    also: frozenset[str] = frozenset()


def _after(change: Callable[..., Any]) -> Sabotage:
    """The result is changed: ``change(e, x, options)``."""
    return lambda factory: lambda model, background, engine: _sabotage_call.Wrapped(factory(model, background, engine), after=change)


def _before(change: Callable[..., Any]) -> Sabotage:
    """The call is changed: ``change(x, options)`` to x and options."""
    return lambda factory: lambda model, background, engine: _sabotage_call.Wrapped(factory(model, background, engine), before=change)


def _rows(change: Callable[[Any], Any]) -> Sabotage:
    """Rows of x and of the background are changed."""
    return lambda factory: (
        lambda model, background, engine: _sabotage_call.Wrapped(
            factory(model, change(background), engine),
            before=partial(_sabotage_call.changed_rows, change),
            after=_sabotage_call.show_the_original,
        )
    )


def _model(change: Callable[[Any], Any]) -> Sabotage:
    """The model's predict function is changed."""

    def sabotage(factory: Factory) -> Factory:
        def make(model: Any, background: Any, engine: Engine) -> Any:
            adapted = as_model(model)
            return factory(replace(adapted, predict=change(adapted.predict)), background, engine)

        return make

    return sabotage


def _kind(kind: Callable[..., Any]) -> Sabotage:
    """Another class around the explainer: ``kind(explainer, model, background, engine)``."""
    return lambda factory: lambda model, background, engine: kind(factory(model, background, engine), model, background, engine)


def _background(change: Callable[[Any], Any]) -> Sabotage:
    return lambda factory: lambda model, background, engine: factory(model, change(background), engine)


def _engine(**changes: Any) -> Sabotage:
    return lambda factory: lambda model, background, engine: factory(model, background, replace(engine, **changes))


_COMPARE_TWO_EXPLAINERS = frozenset(
    {
        "inputs_untouched",
        "layout_changes_nothing",
        "chunk_size_changes_nothing",
        "explain_leaves_the_explainer",
        "checkpoint_goes_on",
        "numpy_dtype_is_kept",
        "torch_is_kept",
        "array_api_is_kept",
    }
)

SABOTEURS: tuple[Saboteur, ...] = (
    Saboteur("asks the model at construction", "construction_asks_nothing", _kind(_sabotage_explainer.asks_first)),
    Saboteur(
        "every explainer has a seed of its own", "same_seed_same_bits", _kind(_sabotage_explainer.OwnSeed.numbered), _COMPARE_TWO_EXPLAINERS
    ),
    Saboteur("ignores the seed", "other_seed_other_queries", _kind(_sabotage_explainer.OneSeed), frozenset({"intervals_cover"})),
    Saboteur("draws from the global generator", "global_generators_untouched", _before(_sabotage_call.draw_globally)),
    Saboteur("writes into x", "inputs_untouched", _after(_sabotage_result.write_into_x)),
    Saboteur("reads memory in its own order", "layout_changes_nothing", _before(_sabotage_call.memory_order)),
    Saboteur("normalises by the rows of the call", "subset_gives_subset", _after(_sabotage_result.leak_of_neighbours)),
    Saboteur("errors depend on how many rows", "subset_gives_subset", _after(_sabotage_result.errors_by_count)),
    Saboteur("rounds by the batch", "chunk_size_changes_nothing", _kind(_sabotage_explainer.RoundsByBatch.of)),
    Saboteur("counts one query too few", "n_queries_is_what_the_model_saw", _after(_sabotage_result.one_query_less)),
    Saboteur("knows no limits", "limits_hold", _engine(max_batch=None, max_queries=None)),
    Saboteur("asks again for every row", "repeated_rows_cost_nothing", _kind(_sabotage_explainer.AsksAgain)),
    Saboteur("draws anew for a repeated row", "repeated_rows_are_alike", _after(_sabotage_result.copies_differ)),
    Saboteur("widens float32", "numpy_dtype_is_kept", _rows(_sabotage_call.widened)),
    Saboteur("turns tensors into NumPy", "torch_is_kept", _rows(_sabotage_call.tensors_to_numpy)),
    Saboteur("knows only NumPy", "array_api_is_kept", _rows(_sabotage_call.strict_to_numpy)),
    Saboteur("moves rows to the host", "cuda_equals_cpu", _rows(_sabotage_call.cuda_to_cpu)),
    Saboteur("numbers categories as they appear", "subset_gives_subset", _after(_sabotage_result.categories_by_appearance)),
    Saboteur("makes columns objects", "frames_reach_the_model_unchanged", _rows(_sabotage_call.columns_to_objects)),
    Saboteur("lets pandas guess what objects are", "frames_reach_the_model_unchanged", _rows(_sabotage_call.objects_to_guesses)),
    Saboteur("matches columns by position", "frames_reach_the_model_unchanged", _kind(_sabotage_explainer.RenamesColumns)),
    Saboteur("makes one axis two", "bad_input_is_a_named_error", _before(_sabotage_call.one_axis_to_two)),
    Saboteur("takes None for a seed", "bad_input_is_a_named_error", _before(_sabotage_call.no_seed_is_zero)),
    Saboteur("answers nothing for nothing", "bad_input_is_a_named_error", _kind(_sabotage_explainer.NothingForNothing)),
    Saboteur("makes NaN zero", "bad_output_is_a_named_error", _model(_sabotage_model.NanToZero)),
    Saboteur("pads a short answer", "bad_output_is_a_named_error", _model(_sabotage_model.Pads)),
    Saboteur("swallows the model's exceptions", "model_errors_pass_through", _model(_sabotage_model.Swallows)),
    Saboteur("wraps the model's exceptions", "model_errors_pass_through", _model(_sabotage_model.Wraps)),
    Saboteur("rounds predictions to float32", "predictions_are_the_models", _after(_sabotage_result.short_predictions)),
    Saboteur("explains output 1 whatever is predicted", "target_picks_an_output", _before(_sabotage_call.always_output_1)),
    Saboteur("starts from another base value", "base_values_are_the_background_mean", _after(_sabotage_result.other_base)),
    Saboteur("leaves a rest of an estimate", "efficiency", _after(_sabotage_result.leave_a_rest)),
    Saboteur("gives idle features a share", "dummy_gets_nothing", _after(_sabotage_result.share_with_the_idle)),
    Saboteur("breaks ties by order", "symmetric_features_share", _after(_sabotage_result.break_ties)),
    Saboteur("clips large outputs", "linear_in_the_model", _model(_sabotage_model.Clips)),
    Saboteur("takes small outputs for zero", "linear_in_the_model", _model(_sabotage_model.DropsSmall)),
    Saboteur("subsamples the background in silence", "agrees_with_brute_force", _background(_sabotage_call.first_eight)),
    Saboteur("selects features by default", "exact_on_linear_models", _after(_sabotage_result.keep_ten)),
    Saboteur("divides zero by zero", "standard_errors_are_there", _after(_sabotage_result.nan_where_exact)),
    Saboteur("adds a floor to standard errors", "no_error_where_exact", _after(_sabotage_result.floor)),
    Saboteur("standard errors five times too small", "intervals_cover", _after(_sabotage_result.narrow)),
    Saboteur("standard errors five times too large", "intervals_cover", _after(_sabotage_result.wide)),
    Saboteur("holds a lock", "pickle_round_trip", _kind(_sabotage_explainer.HoldsLock.locked)),
    Saboteur("forgets standard errors when saved", "save_round_trip", _after(_sabotage_result.forgetful)),
    Saboteur("keeps its last result", "explain_leaves_the_explainer", _kind(_sabotage_explainer.KeepsLast)),
    Saboteur("passes rows through a shared place", "threads_equal_serial", _before(_sabotage_call.through_a_shared_place)),
    Saboteur("ignores the checkpoint", "checkpoint_goes_on", _before(_sabotage_call.no_checkpoint)),
    Saboteur("notes the model in the settings", "no_secret_in_artefacts", _kind(_sabotage_explainer.NotesModel)),
)
