"""Concept counterfactuals and causal concept effects."""

from whybox.concepts._concept import Concept
from whybox.concepts._graph import CausalGraph

__all__ = ["CausalGraph", "Concept"]
