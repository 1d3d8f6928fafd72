"""Plots of receptive fields, training runs, accuracy against cost, and scenes, as Matplotlib figures.

Each function returns its figure; the caller shows or saves it.
"""

from tfsep.plots._measurements import coverage, family, pareto, pareto_front, sensitivity, training
from tfsep.plots._scenes import scenes

__all__ = ["coverage", "family", "pareto", "pareto_front", "scenes", "sensitivity", "training"]
