"""Metrics of explanations."""

from whybox.evaluation.causal import CausalReport, Pairs, Scores, compare, pairs_of, score

__all__ = ["CausalReport", "Pairs", "Scores", "compare", "pairs_of", "score"]
