"""whybox explains any model that can be called: attributions with error bars, and a count of every model query.

Example:
    >>> import numpy as np
    >>> import whybox as wb
    >>> model = lambda x: x[:, 0] * x[:, 1] + x[:, 2]
    >>> e = wb.KernelSHAP(model, background=np.zeros((1, 3))).explain([[2.0, 3.0, 1.0]], seed=0)
    >>> e.values.round(3)
    array([[3., 3., 1.]])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whybox import callbacks as callbacks
    from whybox import concepts as concepts
    from whybox import datasets as datasets
    from whybox import distributed as distributed
    from whybox import errors as errors
    from whybox import evaluation as evaluation
    from whybox import llms as llms
    from whybox import models as models
    from whybox import spaces as spaces
    from whybox.concepts import ConceptEffect as ConceptEffect
    from whybox.concepts import LLMCounterfactuals as LLMCounterfactuals
    from whybox.concepts import MatchedCounterfactuals as MatchedCounterfactuals
    from whybox.distributed import explain_dataset as explain_dataset
    from whybox.engine import Engine as Engine
    from whybox.engine import NoisyModelWarning as NoisyModelWarning
    from whybox.explainers import LIME as LIME
    from whybox.explainers import Anchors as Anchors
    from whybox.explainers import Budget as Budget
    from whybox.explainers import CounterfactualNotFoundWarning as CounterfactualNotFoundWarning
    from whybox.explainers import ExactSHAP as ExactSHAP
    from whybox.explainers import KernelSHAP as KernelSHAP
    from whybox.explainers import LowFidelityWarning as LowFidelityWarning
    from whybox.explainers import Occlusion as Occlusion
    from whybox.explainers import PartitionSHAP as PartitionSHAP
    from whybox.explainers import PermutationSHAP as PermutationSHAP
    from whybox.explainers import QueryPlan as QueryPlan
    from whybox.explainers import RuleNotFoundWarning as RuleNotFoundWarning
    from whybox.explainers import TabularCounterfactuals as TabularCounterfactuals
    from whybox.explainers import ToleranceWarning as ToleranceWarning
    from whybox.explainers import sp_lime as sp_lime
    from whybox.explanations import Attribution as Attribution
    from whybox.explanations import ConceptEffects as ConceptEffects
    from whybox.explanations import CounterfactualRows as CounterfactualRows
    from whybox.explanations import Counterfactuals as Counterfactuals
    from whybox.explanations import Interactions as Interactions
    from whybox.explanations import Rules as Rules
    from whybox.explanations import concat as concat
    from whybox.models import as_model as as_model

__version__ = "0.1.0"

__all__ = [
    "LIME",
    "Anchors",
    "Attribution",
    "Budget",
    "ConceptEffect",
    "ConceptEffects",
    "CounterfactualNotFoundWarning",
    "CounterfactualRows",
    "Counterfactuals",
    "Engine",
    "ExactSHAP",
    "Interactions",
    "KernelSHAP",
    "LLMCounterfactuals",
    "LowFidelityWarning",
    "MatchedCounterfactuals",
    "NoisyModelWarning",
    "Occlusion",
    "PartitionSHAP",
    "PermutationSHAP",
    "QueryPlan",
    "RuleNotFoundWarning",
    "Rules",
    "TabularCounterfactuals",
    "ToleranceWarning",
    "as_model",
    "callbacks",
    "concat",
    "concepts",
    "datasets",
    "distributed",
    "errors",
    "evaluation",
    "explain_dataset",
    "llms",
    "models",
    "sp_lime",
    "spaces",
]

# A name is imported when it is first used: `import whybox` itself loads neither SciPy nor pandas.
_HOME = {
    "Attribution": "explanations",
    "ConceptEffect": "concepts",
    "ConceptEffects": "explanations",
    "CounterfactualRows": "explanations",
    "Counterfactuals": "explanations",
    "Engine": "engine",
    "Interactions": "explanations",
    "LLMCounterfactuals": "concepts",
    "MatchedCounterfactuals": "concepts",
    "NoisyModelWarning": "engine",
    "Rules": "explanations",
    "as_model": "models",
    "concat": "explanations",
    "explain_dataset": "distributed",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'whybox' has no attribute {name!r}; public names: {', '.join(__all__)}")
    if name in ("callbacks", "concepts", "datasets", "distributed", "errors", "evaluation", "llms", "models", "spaces"):
        return import_module(f"whybox.{name}")
    value = getattr(import_module(f"whybox.{_HOME.get(name, 'explainers')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})  # what this file imports is nobody's to complete
