"""Slim's regularizers as Keras regularizers."""

from collections.abc import Sequence
from typing import Any

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import Tensor, TensorLike
from tfsep._utils.arguments import number_in_range, short_repr
from tfsep.slim._types import RegularizerLike, Variable
from tfsep.slim._variables import get_collection


def l1_regularizer(scale: float, scope: str | None = None) -> keras.regularizers.Regularizer | None:  # noqa: ARG001 - there are no ops to name
    """Return the regularizer ``scale · Σ|w|``, or None for a scale of zero.

    Args:
        scale: factor, at least zero.
        scope: slim's name of the op; without effect.

    Raises:
        ValueError: for a negative scale.

    Examples:
        >>> float(l1_regularizer(0.5)(np.array([1.0, -3.0], "float32")))
        2.0
    """
    scale = number_in_range(scale, "scale", float, 0)
    return keras.regularizers.L1(scale) if scale else None


def l2_regularizer(scale: float, scope: str | None = None) -> keras.regularizers.Regularizer | None:  # noqa: ARG001
    """Return slim's regularizer ``scale · Σw² / 2``, or None for a scale of zero; Keras's has no half.

    Args:
        scale: factor, at least zero.
        scope: slim's name of the op; without effect.

    Raises:
        ValueError: for a negative scale.

    Examples:
        >>> float(l2_regularizer(0.5)(np.array([1.0, -3.0], "float32")))
        2.5
    """
    scale = number_in_range(scale, "scale", float, 0)
    return keras.regularizers.L2(scale / 2) if scale else None


def l1_l2_regularizer(
    scale_l1: float = 1.0,
    scale_l2: float = 1.0,
    scope: str | None = None,  # noqa: ARG001
) -> keras.regularizers.Regularizer | None:
    """Return the sum of `l1_regularizer` and `l2_regularizer`, or None where both scales are zero.

    Args:
        scale_l1: factor of `l1_regularizer`, at least zero.
        scale_l2: factor of `l2_regularizer`, at least zero.
        scope: slim's name of the op; without effect.

    Raises:
        ValueError: for a negative scale.

    Examples:
        >>> float(l1_l2_regularizer(0.5, 0.5)(np.array([1.0, -3.0], "float32")))
        4.5
    """
    scale_l1, scale_l2 = (
        number_in_range(scale_l1, "scale_l1", float, 0),
        number_in_range(scale_l2, "scale_l2", float, 0),
    )
    return keras.regularizers.L1L2(scale_l1, scale_l2 / 2) if scale_l1 or scale_l2 else None


@keras.saving.register_keras_serializable(package="tfsep")
class SumRegularizer(keras.regularizers.Regularizer):
    """The sum of regularizers.

    Args:
        regularizers: regularizers of Keras, or functions of the weights.
    """

    def __init__(self, regularizers: Sequence[Any]) -> None:
        self.regularizers = [keras.regularizers.get(each) for each in regularizers]

    def __call__(self, x: TensorLike) -> Tensor:
        return keras.ops.sum(keras.ops.stack([each(x) for each in self.regularizers]))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {"regularizers": [keras.regularizers.serialize(each) for each in self.regularizers]}


def sum_regularizer(
    regularizer_list: Sequence[RegularizerLike],
    scope: str | None = None,  # noqa: ARG001
) -> keras.regularizers.Regularizer | None:
    """Return the sum of regularizers, or None where all are None.

    Args:
        regularizer_list: regularizers of slim or Keras, functions of the weights, or None.
        scope: slim's name of the op; without effect.

    Raises:
        TypeError: for what is no regularizer.

    Examples:
        >>> both = sum_regularizer([l1_regularizer(0.5), None, l2_regularizer(0.5)])
        >>> float(both(np.array([1.0, -3.0], "float32")))
        4.5
    """
    given = [each for each in regularizer_list if each is not None]
    for each in given:
        if not callable(each):
            raise TypeError(f"regularizer_list: expected regularizers, got {short_repr(each)}")
    return SumRegularizer(given) if given else None


def apply_regularization(regularizer: RegularizerLike, weights_list: Sequence[Variable] | None = None) -> Tensor:
    """Return the sum of a regularizer over weights, at their present values.

    A penalty that `fit` adds is an argument of each layer, ``weights_regularizer``.

    Args:
        regularizer: a regularizer of slim or Keras, or a function of the weights.
        weights_list: the weights; None for those in the collection ``tf.compat.v1.GraphKeys.WEIGHTS``.

    Returns:
        The penalty, a scalar.

    Raises:
        TypeError: for what is no regularizer.
        ValueError: if there are no weights, or the result is no scalar.

    Examples:
        >>> from tfsep import slim
        >>> net = slim.fully_connected(keras.Input((8,)), 4, weights_initializer=keras.initializers.Ones())
        >>> float(slim.apply_regularization(slim.l2_regularizer(0.5), slim.get_variables(suffix="weights")))
        8.0
    """
    if not callable(regularizer):
        raise TypeError(f"regularizer: expected a regularizer, got {short_repr(regularizer)}")
    weights = list(weights_list or get_collection(tf.compat.v1.GraphKeys.WEIGHTS))
    if not weights:
        raise ValueError(f"weights_list: expected weights, got none, and none in {tf.compat.v1.GraphKeys.WEIGHTS!r}")
    penalties = [keras.ops.convert_to_tensor(each) for each in map(regularizer, weights) if each is not None]
    for penalty in penalties:
        if len(penalty.shape):
            raise ValueError(f"regularizer: expected one with a scalar as its result, got shape {penalty.shape}")
    return keras.ops.sum(keras.ops.stack(penalties)) if penalties else keras.ops.zeros(())
