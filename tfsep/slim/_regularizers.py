"""Slim's regularizers as Keras regularizers."""

from tfsep._keras.backend import keras
from tfsep._utils.arguments import number_in_range


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
