"""Batch normalization of a prepared model by its moving statistics, in training too."""

from typing import Any

from tfsep._keras.backend import keras
from tfsep._keras.types import Model
from tfsep._utils.arguments import number_in_range
from tfsep.quantize._prepared_model import require_prepared
from tfsep.quantize._quantized_matmul import QuantizedMatmul


def freeze_batch_norm(model: Model, frozen: bool = True) -> None:
    """Let a prepared model normalize by its moving statistics from now on, in training too, as its file does.

    Gamma, beta and the kernels are still trained. A running `fit` takes it over at once.

    Args:
        model: a prepared model.
        frozen: False to let the statistics move again.

    Raises:
        TypeError: if the model is no Keras model.
        ValueError: if `prepare` did not make the model.

    Source: R. Krishnamoorthi (arXiv 1806.08342), section 3.2.2.

    Examples:
        >>> from tfsep.quantize import prepare
        >>> freeze_batch_norm(prepare(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])))
    """
    require_prepared(model)
    for layer in model.layers:
        if isinstance(layer, QuantizedMatmul) and layer.normalization is not None:
            layer.frozen.assign(float(frozen))


class FreezeBatchNorm(keras.callbacks.Callback):
    """Freeze the statistics of a prepared model, see `freeze_batch_norm`, when an epoch begins.

    Args:
        epoch: the epoch, counted from 0.

    Examples:
        >>> FreezeBatchNorm(10).epoch
        10
    """

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = number_in_range(epoch, "epoch", int, 0)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Freeze the statistics in the chosen epoch; Keras calls this.

        Args:
            epoch: that begins.
            logs: not used.
        """
        if epoch == self.epoch:
            freeze_batch_norm(self.model)
