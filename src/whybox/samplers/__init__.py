"""What to try: coalitions and permutations of features. Samplers draw codes; they never call the model."""

from whybox.samplers.coalitions import coalitions
from whybox.samplers.permutations import permutations

__all__ = ["coalitions", "permutations"]
