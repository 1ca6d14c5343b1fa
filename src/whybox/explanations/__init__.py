"""Results: frozen, sliceable, saved without pickle."""

from whybox.explanations._concat import concat
from whybox.explanations.attribution import Attribution
from whybox.explanations.concept_effects import ConceptEffects, Intervention
from whybox.explanations.counterfactual_rows import CounterfactualRows
from whybox.explanations.counterfactuals import Counterfactuals, Edit, Failure, GenerationCost
from whybox.explanations.interactions import Interactions
from whybox.explanations.rules import Condition, Rule, Rules

__all__ = [
    "Attribution",
    "ConceptEffects",
    "Condition",
    "CounterfactualRows",
    "Counterfactuals",
    "Edit",
    "Failure",
    "GenerationCost",
    "Interactions",
    "Intervention",
    "Rule",
    "Rules",
    "concat",
]
