"""Every explainer keeps the contracts, and every contract check catches the saboteur that breaks it."""

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from inspect import isclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import whybox.explainers as explainers
from counterfactuals_by_row import NumbersByRow
from whybox.engine import Engine
from whybox.errors import OptionError
from whybox.explainers import LIME, ExactSHAP, KernelSHAP, Occlusion, PartitionSHAP, PermutationSHAP
from whybox.models import TransformersClassifier, as_model
from whybox.spaces import Segments
from whybox.spaces._text_bound import TextBound
from whybox.testing import CHECKS, ContractError, Traits, check_explainer, examine_explainer, occlusion_values, owen_values, shapley_values
from whybox.testing.saboteurs import SABOTEURS


@dataclass(frozen=True)
class Case:
    """An explainer, how to use it, and what it is excused from, with the reason."""

    make: Callable[..., Any]
    traits: Traits = field(default_factory=Traits)
    excuse: dict[str, str] = field(default_factory=dict)
    checks: tuple[str, ...] = tuple(CHECKS)


def lime_by_many_samples(**settings):
    """What LIME estimates: the same definition without surrogate, by so many samples that chance plays no part."""

    def reference(predict, x, background):
        explainer = LIME(predict, background, control="none", min_score=None, sampler="monte-carlo", **settings)
        return explainer.explain(x, budget=50_000, target=None, seed=99).values

    return reference


def lime(**settings):
    excuse = dict(LIME_EXCUSE)
    if settings:
        excuse["frames_reach_the_model_unchanged"] = "normal noise around strings and missing values has no meaning, and is refused by name"
    # fewer than 200 samples: without surrogate, whose fit takes a second a call
    traits = Traits(few=150, enough=190, reference=lime_by_many_samples(**settings))
    return Case(lambda *a, **k: LIME(*a, min_score=None, **settings, **k), traits, excuse)


@dataclass(frozen=True)
class OfImages:
    """An explainer of rows whose numbers are the pixels of an image with two lines, each pixel a segment, filled from background images.

    That is the marginal game, asked through the image space. Its ragged explanations are given back with one array for all rows.
    """

    explainer: Any

    def explain(self, x, **options):
        e = self.explainer.explain(x, **options)
        stacked = {name: None if getattr(e, name) is None else np.stack(getattr(e, name)) for name in ("values", "std_error", "data")}
        return replace(e, **stacked, feature_names=e.feature_names[0], inputs=None, marks=None)


def of_images(cls, **settings):
    def make(model, background, engine):
        d = background.shape[1]
        space = Segments(np.arange(d).reshape(2, d // 2), fill=background, shape=(2, d // 2))
        return OfImages(cls(model, space=space, engine=engine, **settings))

    return make


DRAWS_NOTHING = "it draws nothing: the same rows are asked for every seed"
ERRORS_ARE_ZERO = "it is exact, so its intervals are points"
LOCAL = "it is a local linear model of the outputs, weighted around the row"
SAMPLED = "a regression on random samples is never exact; that its intervals cover is checked"
LIME_EXCUSE = {
    "base_values_are_the_background_mean": LOCAL + "; its base value is that model's intercept",
    "efficiency": LOCAL + "; its weights add up to nothing",
    "exact_on_linear_models": LOCAL + "; its weights are of bins or standard deviations, and shrunk by ridge",
    "agrees_with_brute_force": SAMPLED,
    "dummy_gets_nothing": SAMPLED,
    "symmetric_features_share": SAMPLED,
    "no_error_where_exact": SAMPLED,
}
NO_TABLE = {"frames_reach_the_model_unchanged": "an image is no table; a DataFrame is refused by name"}
# What an image space could break; the rest is the explainer's own, and checked above.
IMAGE_CHECKS = (
    "same_seed_same_bits",
    "inputs_untouched",
    "layout_changes_nothing",
    "subset_gives_subset",
    "chunk_size_changes_nothing",
    "n_queries_is_what_the_model_saw",
    "repeated_rows_cost_nothing",
    "repeated_rows_are_alike",
    "numpy_dtype_is_kept",
    "torch_is_kept",
    "array_api_is_kept",
    "bad_input_is_a_named_error",
    "target_picks_an_output",
    "checkpoint_goes_on",
    "cuda_equals_cpu",
)


def lime_of_images(predict, x, background):
    """What LIME estimates on images: the same definition by so many samples that chance plays no part."""
    make = of_images(LIME, min_score=None, control="none", sampler="monte-carlo")
    return make(predict, background, Engine()).explain(x, budget=50_000, target=None, seed=99).values


# What a transformer beside the game could break: its answers must not depend on the batch, and its calls not disturb anything else.
TRANSFORMER_CHECKS = (
    "construction_asks_nothing",
    "same_seed_same_bits",
    "other_seed_other_queries",
    "global_generators_untouched",
    "inputs_untouched",
    "subset_gives_subset",
    "chunk_size_changes_nothing",
    "n_queries_is_what_the_model_saw",
    "limits_hold",
    "repeated_rows_cost_nothing",
    "repeated_rows_are_alike",
    "bad_input_is_a_named_error",
    "model_errors_pass_through",
    "checkpoint_goes_on",
    "explain_leaves_the_explainer",
    "threads_equal_serial",
)


DEFINED = "a mean over random permutations is exact only without interactions above second order, at any budget"
ONE_BY_ONE = "effects of single features add up to the prediction for additive models only"
EXACT_EXCUSE = {"other_seed_other_queries": DRAWS_NOTHING, "intervals_cover": ERRORS_ARE_ZERO}
OCCLUSION_EXCUSE = EXACT_EXCUSE | {"efficiency": ONE_BY_ONE}
PERMUTATION_EXCUSE = dict.fromkeys(("agrees_with_brute_force", "symmetric_features_share", "no_error_where_exact"), DEFINED)
OF_TABLES = {
    "layout_changes_nothing",
    "numpy_dtype_is_kept",
    "torch_is_kept",
    "array_api_is_kept",
    "frames_reach_the_model_unchanged",
    "cuda_equals_cpu",
}


def lime_of_texts(predict, x, background):
    """What LIME estimates of texts, by so many samples that chance plays no part: coalitions, weights and regression written out."""
    rng, d, result = np.random.default_rng(5), x.shape[1], []
    gone = rng.permuted(np.tile(np.arange(d), (50_000, 1)), axis=1) < rng.integers(1, d + 1, 50_000)[:, None]
    kept = np.vstack([np.ones((1, d)), ~gone])
    weight = np.sqrt(np.exp(-((1 - np.sqrt(kept.mean(axis=1))) ** 2) / 0.25**2))
    z = kept - np.average(kept, axis=0, weights=weight)
    for row in x:
        y = np.asarray(predict(np.where(kept > 0, row, background[0])))
        result.append(np.linalg.solve((z.T * weight) @ z, (z.T * weight) @ (y - np.average(y, axis=0, weights=weight))))
    return np.stack(result)


def of_texts(make, excuse=None, **traits):
    """The same explainer over the words of texts: all checks but those of arrays and tables."""
    checks = tuple(check for check in CHECKS if check not in OF_TABLES)
    kept = {check: reason for check, reason in (excuse or {}).items() if check in checks}
    return Case(lambda model, space, engine: make(model, space=space, engine=engine), Traits(rows="texts", **traits), kept, checks)


@dataclass(frozen=True)
class BesideATransformer:
    """A game of texts to which a small transformer adds what it says of the same texts, letter by letter.

    It is called through the adapter: tokenised, sorted by length, padded, cut into forwards. In float64, of which the adapter keeps
    float32, so that the rounding of another batch leaves no trace.
    """

    game: Any
    transformer: Any

    def __call__(self, texts):
        outputs = np.asarray(self.game(texts))
        more = np.asarray(self.transformer([" ".join(text) for text in texts]), dtype=np.float64)
        return outputs + (more[:, 0] if outputs.ndim == 1 else more[:, : outputs.shape[1]])


@cache
def letters(*, masked=True):
    """A classifier of letters and its tokenizer, as the engine calls them; the network may be one that takes padding for text."""
    spec = importlib.util.spec_from_file_location("tiny_bert", Path(__file__).with_name("tiny_bert.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model, tokenizer = module.tiny_bert(words=tuple("abcdefgh0123456789"), positions=256, kind="BertForSequenceClassification")
    if not masked:
        whole = model.forward
        model.forward = lambda input_ids, attention_mask: whole(input_ids=input_ids, attention_mask=attention_mask * 0 + 1)
    return as_model(TransformersClassifier(model.double(), tokenizer, activation="none", batch_tokens=4096))


def of_transformers(make, *, masked=True, **traits):
    """The same explainer over the words of texts that a transformer reads: the checks of how a model is called and what comes back."""

    def beside(model, space, engine):
        found = letters(masked=masked)
        asked = as_model(model)
        return make(
            replace(asked, predict=BesideATransformer(asked.predict, found.predict), rounding=found.rounding), space=space, engine=engine
        )

    return Case(beside, Traits(rows="texts", **traits), checks=TRANSFORMER_CHECKS)


CASES = {
    "ExactSHAP": Case(
        ExactSHAP,
        Traits(few=None, wide=10),
        EXACT_EXCUSE,
    ),
    "ExactSHAP, texts": of_texts(ExactSHAP, EXACT_EXCUSE, few=None, wide=10),
    "KernelSHAP": Case(KernelSHAP),
    "KernelSHAP, texts": of_texts(KernelSHAP),
    "KernelSHAP, transformer": of_transformers(KernelSHAP),
    "LIME, transformer": of_transformers(partial(LIME, min_score=None), few=150),
    "PartitionSHAP, transformer": of_transformers(PartitionSHAP, few=28),
    "KernelSHAP, least squares": Case(lambda *a, **k: KernelSHAP(*a, estimator="least squares", **k)),
    "KernelSHAP, odd GP": Case(lambda *a, **k: KernelSHAP(*a, estimator="odd GP", **k)),
    "KernelSHAP, fitted": Case(
        lambda *a, **k: KernelSHAP(*a, **k).fit(a[1], budget=1000),
        checks=(
            "agrees_with_brute_force",
            "checkpoint_goes_on",
            "efficiency",
            "intervals_cover",
            "subset_gives_subset",
        ),
    ),
    "LIME": lime(),
    "LIME, gaussian": lime(neighborhood="gaussian"),
    "LIME, glime": lime(neighborhood="glime"),
    "KernelSHAP, images": Case(of_images(KernelSHAP), excuse=NO_TABLE | {"save_round_trip": "it explains a DataFrame"}),
    "LIME, images": Case(
        of_images(LIME, min_score=None), Traits(few=150, enough=190, reference=lime_of_images), LIME_EXCUSE | NO_TABLE, IMAGE_CHECKS
    ),
    "Occlusion, images": Case(of_images(Occlusion), Traits(few=None, reference=occlusion_values), checks=IMAGE_CHECKS),
    "PermutationSHAP, images": Case(of_images(PermutationSHAP), Traits(few=140), checks=IMAGE_CHECKS),
    "LIME, texts": of_texts(partial(LIME, min_score=None), LIME_EXCUSE, few=150, enough=5000, reference=lime_of_texts),
    "LIME, surrogate": Case(
        lambda *a, **k: LIME(*a, min_score=None, **k),
        Traits(few=210),
        checks=("checkpoint_goes_on", "repeated_rows_are_alike"),
    ),
    "Occlusion": Case(
        Occlusion,
        Traits(few=None, reference=occlusion_values),
        OCCLUSION_EXCUSE,
    ),
    "Occlusion, texts": of_texts(Occlusion, OCCLUSION_EXCUSE, few=None, reference=occlusion_values),
    "PartitionSHAP": Case(PartitionSHAP, Traits(few=28, reference=owen_values)),
    "PartitionSHAP, texts": of_texts(PartitionSHAP, few=28, reference=partial(owen_values, tree=list(range(8)))),
    "PermutationSHAP": Case(
        PermutationSHAP,
        Traits(few=140),
        PERMUTATION_EXCUSE,
    ),
    "PermutationSHAP, texts": of_texts(PermutationSHAP, PERMUTATION_EXCUSE, few=140),
}

CALLS = (
    "construction_asks_nothing",
    "same_seed_same_bits",
    "other_seed_other_queries",
    "global_generators_untouched",
    "inputs_untouched",
    "layout_changes_nothing",
    "subset_gives_subset",
    "chunk_size_changes_nothing",
    "n_queries_is_what_the_model_saw",
    "limits_hold",
    "repeated_rows_cost_nothing",
    "repeated_rows_are_alike",
    "numpy_dtype_is_kept",
    "torch_is_kept",
    "array_api_is_kept",
    "frames_reach_the_model_unchanged",
    "bad_input_is_a_named_error",
    "bad_output_is_a_named_error",
    "model_errors_pass_through",
    "cuda_equals_cpu",
    "explain_leaves_the_explainer",
    "threads_equal_serial",
)

# What gives rules or rows has no values, base values or standard errors: these checks are on calls and inputs alone, on precision and
# coverage, or on the rows. Their files and pickles are tested in test_anchors.py and test_tabular_counterfactuals.py.
GIVES_OTHERS = {
    "Anchors": Case(
        lambda *a, **k: explainers.Anchors(*a, within=0.5, n_precision=60, threshold=0.9, max_size=2, beam=2, **k),
        Traits(few=600, enough=600),
        checks=CALLS,
    ),
    "TabularCounterfactuals": Case(
        lambda *a, **k: NumbersByRow(*a, desired_range=(0.3, None), **k),
        Traits(few=200, enough=200),
        checks=CALLS,
        excuse={"other_seed_other_queries": "nothing is drawn"},
    ),
}


def discovered():
    """The explainers of the package: the public classes whose ``explain`` gives attributions."""
    public = {name: getattr(explainers, name) for name in explainers.__all__}
    return {
        name
        for name, item in public.items()
        if isclass(item) and "explain" in vars(item) and item.explain.__annotations__["return"] == "Attribution"
    }


def factory(case):
    return lambda model, background, engine: case.make(model, background, engine=engine)


def test_every_explainer_has_a_case():
    assert discovered() <= {name.partition(",")[0] for name in CASES}, "a new explainer needs a line in CASES"
    assert {name.partition(",")[0] for name in CASES} <= discovered()
    for name in discovered():
        assert CASES[name].checks == tuple(CHECKS), "the explainer itself goes through every check; settings of it may go through some"


@pytest.mark.parametrize(("name", "check"), [(name, check) for name, case in CASES.items() for check in case.checks])
def test_explainer_keeps_contract(name, check):
    case = CASES[name]
    if name.endswith("transformer"):
        pytest.importorskip("transformers", reason="transformers is not installed: pip install 'whybox[hf]'")
    excuse = {check: case.excuse[check]} if check in case.excuse else {}
    report = check_explainer(factory(case), traits=case.traits, excuse=excuse, only=[check], name=name)
    (finding,) = report.findings
    if finding.level == "skipped":
        pytest.skip(f"{name}, {check}: {finding.detail}")
    assert finding.level == ("excused" if excuse else "passed")


@pytest.mark.filterwarnings("ignore::whybox.explainers.RuleNotFoundWarning", "ignore::whybox.explainers.CounterfactualNotFoundWarning")
@pytest.mark.parametrize(("name", "check"), [(name, check) for name, case in GIVES_OTHERS.items() for check in case.checks])
def test_explainer_of_rules_or_rows_keeps_contract(name, check):
    case = GIVES_OTHERS[name]
    excuse = {check: case.excuse[check]} if check in case.excuse else {}
    (finding,) = check_explainer(factory(case), traits=case.traits, excuse=excuse, only=[check], name=name).findings
    if finding.level == "skipped":
        pytest.skip(f"{name}, {check}: {finding.detail}")


def test_every_explainer_gives_attributions_rules_or_rows():
    public = {name: getattr(explainers, name) for name in explainers.__all__}
    explain = {name for name, item in public.items() if isclass(item) and "explain" in vars(item)}
    assert explain == discovered() | set(GIVES_OTHERS)


# A correct explainer to be spoilt: it draws, is exact where the budget covers all coalitions, and is the cheapest of its kind.
HONEST = CASES["KernelSHAP, least squares"]


@pytest.mark.parametrize("saboteur", SABOTEURS, ids=lambda saboteur: saboteur.name)
def test_saboteur_is_caught_by_its_check_alone(saboteur):
    mine = {saboteur.caught_by} | saboteur.also
    dear = {"intervals_cover"} - mine  # a quarter of the time, for a check that few can trip
    report = examine_explainer(saboteur.make(factory(HONEST)), only=[check for check in CHECKS if check not in dear])
    if saboteur.caught_by in report.names("skipped"):
        pytest.skip(f"{saboteur.caught_by} cannot run here")
    assert set(report.names("failed")) == mine - set(report.names("skipped")), str(report)


@dataclass(frozen=True)
class Spoilt:
    """A space of texts whose bound does one thing wrong."""

    space: Any
    change: dict[str, Any]

    def bind(self, x, model):
        bound = self.space.bind(x, model)
        compose = {"compose": lambda bound, ask, start, stop: bound.take(ask, np.arange(start, stop))}
        spoilt = type("Spoilt", (type(bound),), self.change | compose)
        return spoilt(**{name: getattr(bound, name) for name in bound.__dataclass_fields__})


def forgets_the_last_word(self, ask, index):
    codes = ask.codes.copy()
    codes[:, -1] = True
    return TextBound.take(self, replace(ask, codes=codes), index)


def mixes_texts_up(self, ask, index):
    return TextBound.take(self, replace(ask, instances=np.zeros_like(ask.instances)), index)


WRONG_SPACES = {
    "agrees_with_brute_force": {"take": forgets_the_last_word},
    "subset_gives_subset": {"take": mixes_texts_up},
    "exact_on_linear_models": {"keys": lambda self, ask: np.zeros((len(ask.instances) * len(ask.codes), 2), dtype=np.uint64)},
    "chunk_size_changes_nothing": {
        "take": lambda self, ask, index: [t[:-20] if len(index) > 100 else t for t in TextBound.take(self, ask, index)]
    },
    "repeated_rows_cost_nothing": {"row_keys": lambda self: None, "keys": lambda self, ask: None},
}


@pytest.mark.parametrize("check", WRONG_SPACES)
def test_wrong_space_of_texts_is_caught(check):
    def spoilt(model, space, engine):
        return KernelSHAP(model, space=Spoilt(space, WRONG_SPACES[check]), engine=engine)

    report = examine_explainer(spoilt, traits=Traits(rows="texts"), only=[check])
    assert report.names("failed") == (check,)


@pytest.mark.parametrize("check", ["chunk_size_changes_nothing", "subset_gives_subset"])
def test_a_transformer_that_reads_its_padding_is_caught(check):
    pytest.importorskip("transformers", reason="transformers is not installed: pip install 'whybox[hf]'")
    case = of_transformers(KernelSHAP, masked=False)
    assert examine_explainer(factory(case), traits=case.traits, only=[check]).names("failed") == (check,)


def test_every_check_has_a_saboteur():
    assert {saboteur.caught_by for saboteur in SABOTEURS} == set(CHECKS)
    names = [saboteur.name for saboteur in SABOTEURS]
    assert len(set(names)) == len(names)


def test_failures_are_raised_together_and_say_what_to_do():
    class Silent:
        def explain(self, x, **options):
            raise RuntimeError("not written yet")

    with pytest.raises(ContractError, match="breaks 2 of 2 contracts") as caught:
        check_explainer(lambda *_: Silent(), only=["efficiency", "save_round_trip"])
    assert "efficiency" in str(caught.value)
    assert "not written yet" in str(caught.value)


def test_an_excuse_needs_a_reason_and_a_check():
    with pytest.raises(OptionError, match="reason"):
        check_explainer(factory(HONEST), excuse={"efficiency": " "})
    with pytest.raises(OptionError, match="no checks"):
        check_explainer(factory(HONEST), excuse={"fast": "it is not"})


def test_an_excuse_that_is_not_needed_is_a_failure():
    with pytest.raises(ContractError, match="remove the excuse"):
        check_explainer(factory(HONEST), excuse={"efficiency": "it used to fail"}, only=["efficiency"])


def test_report_reads_as_text():
    case = CASES["Occlusion"]
    report = check_explainer(factory(case), traits=case.traits, excuse={"efficiency": "why"}, only=["efficiency", "pickle_round_trip"])
    assert str(report).splitlines()[0] == "Occlusion: 1 passed, 1 excused, 0 skipped, 0 failed"
    assert "why" in str(report)


def test_references_are_right_on_a_closed_form():
    x, background = np.array([[2.0, 3.0, 5.0]]), np.array([[1.0, 1.0, 1.0], [0.0, 2.0, 0.0]])

    def product(rows):
        return rows[:, 0] * rows[:, 1] + 4.0 * rows[:, 2]

    # v({}) = 0.5, v({0}) = 2 * 1.5, v({1}) = 3 * 0.5, v({0, 1}) = 6, beside feature 2, which is additive
    expected = [[((3.0 - 0.5) + (6.0 - 1.5)) / 2, ((1.5 - 0.5) + (6.0 - 3.0)) / 2, 4 * (5.0 - 0.5)]]
    np.testing.assert_allclose(shapley_values(product, x, background), expected)
    np.testing.assert_allclose(occlusion_values(product, x, background), [[6.0 - 1.5, 6.0 - 3.0, 18.0]])


def test_checks_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_explainer(factory(CASES["Occlusion"]), traits=CASES["Occlusion"].traits, excuse=CASES["Occlusion"].excuse)
