"""Explainers: one composition of space, sampler, engine and solver a file."""

from whybox.explainers._plan import QueryPlan
from whybox.explainers._shapley import ToleranceWarning
from whybox.explainers.anchors import Anchors, RuleNotFoundWarning
from whybox.explainers.budget import Budget
from whybox.explainers.exact_shap import ExactSHAP
from whybox.explainers.kernel_shap import KernelSHAP
from whybox.explainers.lime import LIME, LowFidelityWarning
from whybox.explainers.occlusion import Occlusion
from whybox.explainers.partition_shap import PartitionSHAP
from whybox.explainers.permutation_shap import PermutationSHAP
from whybox.explainers.submodular_pick import Pick, sp_lime
from whybox.explainers.tabular_counterfactuals import CounterfactualNotFoundWarning, TabularCounterfactuals

__all__ = [
    "LIME",
    "Anchors",
    "Budget",
    "CounterfactualNotFoundWarning",
    "ExactSHAP",
    "KernelSHAP",
    "LowFidelityWarning",
    "Occlusion",
    "PartitionSHAP",
    "PermutationSHAP",
    "Pick",
    "QueryPlan",
    "RuleNotFoundWarning",
    "TabularCounterfactuals",
    "ToleranceWarning",
    "sp_lime",
]
