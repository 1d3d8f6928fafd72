"""Batch normalization: on TensorFlow's fused kernel, and as a scale and a shift a channel."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import ConstraintLike, InitializerLike, RegularizerLike, Tensor
from tfsep.layers._layer_arguments import arguments_of

__all__ = ["BatchNormalization"]

_FUSED_DTYPES = ("float16", "bfloat16", "float32")

# oneDNN's fast kernel takes blocks of 16 channels. In bfloat16 a remainder costs ten times as much: there the float32
# kernel is faster, with both conversions.
_BLOCK = 16

_RENORMALIZATION = {"renorm": False, "renorm_clipping": None, "renorm_momentum": 0.99}
"""Arguments that Keras has from 3.14 on, and their defaults there, with which an older one is the same."""


@keras.saving.register_keras_serializable(package="tfsep")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization`, computed by one fused kernel where there is one.

    Weights, moving statistics and results equal those of Keras. The fused kernel computes images (rank 4) with the
    channels last, in float16, bfloat16 or float32. Keras computes everything else: another rank or axis, a mask,
    ``synchronized``, ``renorm``, float64.

    The fused kernel returns the unbiased variance, n / (n − 1) times that of Keras. The moving variance is corrected by
    this factor.

    Args:
        axis: axis of the channels, an int or several.
        momentum: momentum of the moving statistics: the share that each step keeps.
        epsilon: added to the variance.
        center: whether beta is added.
        scale: whether gamma multiplies.
        beta_initializer: initializer of beta (C,).
        gamma_initializer: initializer of gamma (C,).
        moving_mean_initializer: initializer of the moving mean (C,).
        moving_variance_initializer: initializer of the moving variance (C,).
        beta_regularizer: regularizer of beta; None for none.
        gamma_regularizer: regularizer of gamma; None for none.
        beta_constraint: constraint of beta; None for none.
        gamma_constraint: constraint of gamma; None for none.
        renorm: whether to use batch renormalization, which takes Keras 3.14.
        renorm_clipping: limits of its corrections, by the names ``"rmax"``, ``"rmin"`` and ``"dmax"``; None for none.
        renorm_momentum: momentum of the moving statistics of the renormalization.
        synchronized: whether statistics are those of all replicas.
        frozen: whether training uses the moving statistics, without changing them, while gamma and beta are trained.
            Keras has no such setting: ``fit`` of a functional model overrides ``training=False`` in the layer's call,
            and ``trainable=False`` freezes gamma and beta, too.
        **kwargs: arguments of `keras.layers.Layer`, such as ``name``, ``trainable`` and ``dtype``.

    Source: S. Ioffe, C. Szegedy, "Batch Normalization" (arXiv 1502.03167).

    Examples:
        >>> y = BatchNormalization()(np.arange(32.0).reshape(2, 2, 2, 4), training=True)
        >>> y.shape, round(float(keras.ops.std(y)), 2)
        (TensorShape([2, 2, 2, 4]), 1.0)
    """

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: InitializerLike = "zeros",
        gamma_initializer: InitializerLike = "ones",
        moving_mean_initializer: InitializerLike = "zeros",
        moving_variance_initializer: InitializerLike = "ones",
        beta_regularizer: RegularizerLike = None,
        gamma_regularizer: RegularizerLike = None,
        beta_constraint: ConstraintLike = None,
        gamma_constraint: ConstraintLike = None,
        renorm: bool = False,
        renorm_clipping: Mapping[str, float] | None = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        frozen: bool = False,
        **kwargs: Any,
    ) -> None:
        given = arguments_of(locals(), "frozen")
        super().__init__(**{k: v for k, v in given.items() if k not in _RENORMALIZATION or v != _RENORMALIZATION[k]})
        self.frozen = bool(frozen)

    def call(self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None) -> Tensor:
        """Normalize, by the batch's statistics in training unless frozen, by the moving ones otherwise.

        Args:
            inputs: tensor (N, ..., C), or of another axis of channels.
            training: whether this is a step of training.
            mask: True for the elements that count in the statistics; None for all.
        """
        training = bool(training) and not self.frozen
        if not self._is_fused(inputs, mask):
            return super().call(inputs, training=training, mask=mask)
        learning = training and self.trainable
        moving_mean, moving_variance = (_cast(v, "float32") for v in (self.moving_mean, self.moving_variance))
        slow = inputs.dtype == tf.bfloat16 and inputs.shape[-1] % _BLOCK
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=tf.cast(inputs, "float32") if slow else inputs,
            scale=_cast(self.gamma, "float32") if self.scale else tf.ones_like(moving_mean),
            offset=_cast(self.beta, "float32") if self.center else tf.zeros_like(moving_mean),
            mean=tf.constant([]) if learning else moving_mean,
            variance=tf.constant([]) if learning else moving_variance,
            epsilon=self.epsilon,
            is_training=learning,
        )
        if learning:
            count = tf.cast(tf.size(inputs) // inputs.shape[-1], "float32")
            variance *= tf.maximum(count - 1.0, 1.0) / count
            keep = self.momentum
            self.moving_mean.assign(moving_mean * keep + mean * (1.0 - keep))
            self.moving_variance.assign(moving_variance * keep + variance * (1.0 - keep))
        return tf.cast(y, inputs.dtype)

    def _is_fused(self, inputs: Tensor, mask: Tensor | None) -> bool:
        """Whether the fused kernel computes this call."""
        return (
            inputs.shape.rank == 4
            and self.axis in (-1, 3)
            and mask is None
            and not self.synchronized
            and not getattr(self, "renorm", False)
            and inputs.dtype.name in _FUSED_DTYPES
            and inputs.dtype.name == self.compute_dtype
        )

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, under Keras's names."""
        return {**super().get_config(), "frozen": self.frozen}


_Array = TypeVar("_Array", np.ndarray, tf.Tensor)


def scale_and_shift(
    gamma: _Array | None, beta: _Array | None, mean: _Array, variance: _Array, epsilon: float
) -> tuple[_Array, _Array]:
    """Return a batch normalization by moving statistics as ``scale · x + shift``, each with one number per channel.

    ``scale = γ / sqrt(v + ε)`` and ``shift = β − m · scale``.

    Args:
        gamma: γ (C,), or None for ones.
        beta: β (C,), or None for zeros.
        mean: moving mean m (C,).
        variance: moving variance v (C,), float64 for a result that a fold can round once.
        epsilon: ε.

    Examples:
        >>> scale_and_shift(np.array([3.0]), None, np.array([2.0]), np.array([0.25]), 0.0)
        (array([6.]), array([-12.]))
    """
    scale = (variance + epsilon) ** -0.5
    scale = scale if gamma is None else scale * gamma
    shift = -mean * scale
    return scale, shift if beta is None else shift + beta


def scale_and_shift_of(normalization: keras.layers.BatchNormalization) -> tuple[tf.Tensor, tf.Tensor]:
    """Return `scale_and_shift` of a built layer, in float64."""
    gamma = _cast(normalization.gamma, "float64") if normalization.scale else None
    beta = _cast(normalization.beta, "float64") if normalization.center else None
    mean, variance = (_cast(v, "float64") for v in (normalization.moving_mean, normalization.moving_variance))
    return scale_and_shift(gamma, beta, mean, variance, normalization.epsilon)


def _cast(variable: keras.Variable, dtype: str) -> tf.Tensor:
    return tf.cast(tf.convert_to_tensor(variable), dtype)
