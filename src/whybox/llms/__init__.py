"""Text generators behind one protocol: local transformers, any OpenAI-compatible endpoint, any function; cached and budgeted."""

from whybox._remote import Budget, Limits, Price, Retry, Spending
from whybox.llms._types import Prompt, Reply, Sampling, TextGenerator
from whybox.llms.cached import Cached
from whybox.llms.function import FunctionGenerator
from whybox.llms.openai_compatible import OpenAICompatible, Plan
from whybox.llms.similarity import AnswerSimilarity
from whybox.llms.transformers import TransformersGenerator

__all__ = [
    "AnswerSimilarity",
    "Budget",
    "Cached",
    "FunctionGenerator",
    "Limits",
    "OpenAICompatible",
    "Plan",
    "Price",
    "Prompt",
    "Reply",
    "Retry",
    "Sampling",
    "Spending",
    "TextGenerator",
    "TransformersGenerator",
]
