"""Metrics of explanations."""

from whybox.evaluation.causal import METRICS, CausalReport, Pairs, Scores, compare, pairs_of, score

__all__ = ["METRICS", "CausalReport", "Pairs", "Scores", "compare", "pairs_of", "score"]
