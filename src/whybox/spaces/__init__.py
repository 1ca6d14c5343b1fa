"""Spaces: what may vary, and how codes become model inputs."""

from whybox.spaces.conditions import Conditions
from whybox.spaces.fields import Fields
from whybox.spaces.groups import Groups
from whybox.spaces.marginal import Baseline, Marginal
from whybox.spaces.neighborhood import Neighborhood
from whybox.spaces.observed import Observed
from whybox.spaces.segments import Segments
from whybox.spaces.summaries import summarize
from whybox.spaces.text import Passages, Sentences, Tokens, Words

__all__ = [
    "Baseline",
    "Conditions",
    "Fields",
    "Groups",
    "Marginal",
    "Neighborhood",
    "Observed",
    "Passages",
    "Segments",
    "Sentences",
    "Tokens",
    "Words",
    "summarize",
]
