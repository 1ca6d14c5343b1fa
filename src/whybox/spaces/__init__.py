"""Spaces: what may vary, and how codes become model inputs."""

<<<<<<< HEAD
from whybox.spaces.conditions import Conditions
=======
from whybox.spaces.fields import Fields
>>>>>>> text
from whybox.spaces.groups import Groups
from whybox.spaces.marginal import Baseline, Marginal
from whybox.spaces.neighborhood import Neighborhood
from whybox.spaces.summaries import summarize
from whybox.spaces.text import Passages, Sentences, Tokens, Words

<<<<<<< HEAD
__all__ = ["Baseline", "Conditions", "Groups", "Marginal", "Neighborhood", "Passages", "Sentences", "Tokens", "Words", "summarize"]
=======
__all__ = ["Baseline", "Fields", "Groups", "Marginal", "Neighborhood", "Passages", "Sentences", "Tokens", "Words", "summarize"]
>>>>>>> text
