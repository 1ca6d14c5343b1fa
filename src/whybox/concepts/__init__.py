"""Concept counterfactuals and causal concept effects."""

from whybox.concepts._checks import (
    Answered,
    Candidate,
    Changed,
    Check,
    Distinct,
    Ended,
    Near,
    NoMetaTalk,
    SameLanguage,
    SimilarLength,
)
from whybox.concepts._classifiers import CallableClassifier, ConceptClassifier, FittedClassifier, LLMClassifier
from whybox.concepts._concept import Concept
from whybox.concepts._embedding_bases import ProjectedEncoder
from whybox.concepts._graph import CausalGraph
from whybox.concepts._model_checks import ConfoundersKept, Similar, TargetReached
from whybox.concepts._neighbors import Neighbors, exact_neighbors
from whybox.concepts._nulls import null_edits
from whybox.concepts._pool import CandidatePool
from whybox.concepts._prompts import STRATEGIES, Example, PromptTemplate
from whybox.concepts._source import CounterfactualSource, EffectEstimator, Estimates, Paraphraser
from whybox.concepts._training import TrainingHistory, TrainingOptions
from whybox.concepts.baseline_estimators import ConditionalExpectation, SLearner, ZeroEffect
from whybox.concepts.baselines import ApproxMatches, ConceptVectors, PropensityMatches, RandomMatches
from whybox.concepts.causal_embedding import CausalEmbedding
from whybox.concepts.causalm import CausaLM
from whybox.concepts.concept_effect import ConceptEffect
from whybox.concepts.encoders import Encoder, TransformerEncoder, TruncationWarning
from whybox.concepts.encoders_finetuned import FineTunedEncoder
from whybox.concepts.encoders_fused import FusedEncoder
from whybox.concepts.flip import FlipCounterfactuals
from whybox.concepts.leace import LEACE
from whybox.concepts.llm_counterfactuals import LLMCounterfactuals
from whybox.concepts.matched import MatchedCounterfactuals
from whybox.concepts.passage_reader import PassageReader
from whybox.concepts.rewrite_twice import RewriteTwice, rewrite_twice
from whybox.concepts.structural import StructuralCounterfactuals
from whybox.concepts.tcav import TCAV, TCAVResult
from whybox.concepts.tfidf_encoder import TfidfEncoder

__all__ = [
    "LEACE",
    "STRATEGIES",
    "TCAV",
    "Answered",
    "ApproxMatches",
    "CallableClassifier",
    "Candidate",
    "CandidatePool",
    "CausaLM",
    "CausalEmbedding",
    "CausalGraph",
    "Changed",
    "Check",
    "Concept",
    "ConceptClassifier",
    "ConceptEffect",
    "ConceptVectors",
    "ConditionalExpectation",
    "ConfoundersKept",
    "CounterfactualSource",
    "Distinct",
    "EffectEstimator",
    "Encoder",
    "Ended",
    "Estimates",
    "Example",
    "FineTunedEncoder",
    "FittedClassifier",
    "FlipCounterfactuals",
    "FusedEncoder",
    "LLMClassifier",
    "LLMCounterfactuals",
    "MatchedCounterfactuals",
    "Near",
    "Neighbors",
    "NoMetaTalk",
    "Paraphraser",
    "PassageReader",
    "ProjectedEncoder",
    "PromptTemplate",
    "PropensityMatches",
    "RandomMatches",
    "RewriteTwice",
    "SLearner",
    "SameLanguage",
    "Similar",
    "SimilarLength",
    "StructuralCounterfactuals",
    "TCAVResult",
    "TargetReached",
    "TfidfEncoder",
    "TrainingHistory",
    "TrainingOptions",
    "TransformerEncoder",
    "TruncationWarning",
    "ZeroEffect",
    "exact_neighbors",
    "null_edits",
    "rewrite_twice",
]
