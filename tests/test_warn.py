"""Warnings name the line of the caller's code."""

import warnings

import numpy as np

import whybox as wb
from whybox.engine import NoisyModelWarning


def test_a_warning_from_deep_inside_points_here():
    rng = np.random.default_rng(0)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        wb.Occlusion(lambda rows: rows.sum(axis=1) + rng.normal(size=len(rows)), rng.normal(size=(20, 30))).explain(np.ones((2, 30)))
    (warning,) = [w for w in seen if w.category is NoisyModelWarning]
    assert warning.filename == __file__
