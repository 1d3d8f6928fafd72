"""Changes to a trained Keras model that leave what it computes as it is."""

from tfsep.surgery._folding import fold_batch_norm
from tfsep.surgery._graph import plain_model
from tfsep.surgery._kinds import is_foldable

__all__ = ["fold_batch_norm", "is_foldable", "plain_model"]
