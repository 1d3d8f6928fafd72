"""Changes to a trained Keras model that leave what it computes as it is."""

from tfsep.surgery._fold_batch_norm import fold_batch_norm

__all__ = ["fold_batch_norm"]
