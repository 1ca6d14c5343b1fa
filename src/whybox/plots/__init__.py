"""Plots of explanations, drawn by matplotlib (extra ``plot``) without changing any global setting."""

from whybox.plots.bar import bar
from whybox.plots.beeswarm import beeswarm
from whybox.plots.heatmap import heatmap
from whybox.plots.image import image
from whybox.plots.interactions import interactions
from whybox.plots.report import Figure, Note, Section, explanation_report, write_report
from whybox.plots.scatter import scatter
from whybox.plots.waterfall import waterfall

__all__ = [
    "Figure",
    "Note",
    "Section",
    "bar",
    "beeswarm",
    "explanation_report",
    "heatmap",
    "image",
    "interactions",
    "scatter",
    "waterfall",
    "write_report",
]
