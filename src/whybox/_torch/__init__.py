"""What several rooms do with torch modules: modes put back, forwards of padded tokens, and what identifies weights.

torch itself is imported inside the functions that need it.
"""

from whybox._torch.buckets import for_each_bucket, padded
from whybox._torch.modules import autocast, dtype_named, evaluating, first_tensor, half_precision, module_digest
from whybox._torch.tokenizers import context_length, pad_token, tokenizer_digest

__all__ = [
    "autocast",
    "context_length",
    "dtype_named",
    "evaluating",
    "first_tensor",
    "for_each_bucket",
    "half_precision",
    "module_digest",
    "pad_token",
    "padded",
    "tokenizer_digest",
]
