"""Trained weights from elsewhere into models of this library."""

from tfsep.weights._slim_checkpoint import SLIM_VARIABLES, load_slim_checkpoint, slim_variables

__all__ = ["SLIM_VARIABLES", "load_slim_checkpoint", "slim_variables"]
