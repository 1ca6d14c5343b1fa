"""Spaces: what may vary, and how codes become model inputs."""

from whybox.spaces.groups import Groups
from whybox.spaces.marginal import Baseline, Marginal

__all__ = ["Baseline", "Groups", "Marginal"]
