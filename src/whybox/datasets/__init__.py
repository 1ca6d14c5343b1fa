"""Small generated data with known ground truth."""

from whybox.datasets._concept_data import ConceptData
from whybox.datasets._scm import StructuralModel, Variable
from whybox.datasets.cv import cv_screening
from whybox.datasets.disease import disease
from whybox.datasets.reviews import concept_reviews
from whybox.datasets.violence import workplace_violence

__all__ = ["ConceptData", "StructuralModel", "Variable", "concept_reviews", "cv_screening", "disease", "workplace_violence"]
