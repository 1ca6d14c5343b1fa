"""The same job on many processes or machines: existing engines behind one seam, results as Parquet, and a killed job goes on."""

from whybox.distributed._dask import Dask
from whybox.distributed._identity import UnidentifiedModelWarning
from whybox.distributed._local import Local
from whybox.distributed._ray import Ray
from whybox.distributed._spark import Spark
from whybox.distributed.backends import Backend
from whybox.distributed.dataset import ExplanationDataset, open_dataset
from whybox.distributed.explain import explain_dataset

__all__ = [
    "Backend",
    "Dask",
    "ExplanationDataset",
    "Local",
    "Ray",
    "Spark",
    "UnidentifiedModelWarning",
    "explain_dataset",
    "open_dataset",
]
