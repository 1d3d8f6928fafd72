"""Changes to a trained Keras model that leave what it computes as it is."""

from tfsep._keras.model_graph import plain_model
from tfsep.surgery._fold_batch_norm import fold_batch_norm
from tfsep.surgery._foldable import is_foldable

__all__ = ["fold_batch_norm", "is_foldable", "plain_model"]
