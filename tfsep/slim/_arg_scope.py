"""Slim's argument scopes, which take the settings of `tfsep.models`, too."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import tf_slim

from tfsep._keras.backend import keras
from tfsep.defs import MOBILENET_V1
from tfsep.defs._layer_def import DEFAULT_ACTIVATION
from tfsep.models._layer_builder import ArgScope, default_arg_scope
from tfsep.slim._convolution import conv2d
from tfsep.slim._image_convolution import separable_conv2d
from tfsep.slim._normalization import batch_norm
from tfsep.slim._ops import dropout


@contextmanager
def arg_scope(
    list_ops_or_scope: Sequence[Callable[..., Any]] | Mapping[str, Any] | ArgScope, **kwargs: Any
) -> Iterator[dict[str, Any]]:
    """Set default arguments of slim functions, and of any with `add_arg_scope`, inside a ``with``.

    Args:
        list_ops_or_scope: list of functions; or a scope that another ``with`` gave; or the settings of a network,
            `tfsep.models.mobilenet_v1_arg_scope` or `training_scope`, for slim's functions and the builders of
            `tfsep.models`.
        **kwargs: the arguments of a list's functions, by name.

    Returns:
        A context of the scope, which another `arg_scope` takes.

    Raises:
        TypeError: if `list_ops_or_scope` is none of these.
        ValueError: for functions without `add_arg_scope`, or arguments beside a scope.

    Examples:
        >>> from tfsep import models, slim
        >>> with slim.arg_scope(models.mobilenet_v1_arg_scope(is_training=False)):
        ...     net = slim.conv2d(keras.Input((8, 8, 3)), 16, 3, scope="Conv2d_0")
        ...     logits, end_points = models.mobilenet_v1(keras.Input((64, 64, 3)), depth_multiplier=0.25)
        >>> [variable.name for variable in slim.get_variables("Conv2d_0/BatchNorm")][:2]
        ['gamma', 'beta']
    """
    with ExitStack() as stack:
        if isinstance(list_ops_or_scope, ArgScope):
            if kwargs:
                raise ValueError(f"list_ops_or_scope: expected functions beside arguments, got {list_ops_or_scope!r}")
            stack.enter_context(default_arg_scope(list_ops_or_scope))
            scope = tf_slim.current_arg_scope()
            for functions, arguments in _slim_arguments(list_ops_or_scope):
                scope = stack.enter_context(tf_slim.arg_scope(functions, **arguments))
        else:
            scope = stack.enter_context(tf_slim.arg_scope(list_ops_or_scope, **kwargs))
        yield scope


def _slim_arguments(settings: ArgScope) -> Iterator[tuple[list[Callable[..., Any]], dict[str, Any]]]:
    """The settings as arguments of slim's functions, as slim's own scopes have them; what none is given, of v1's."""
    convolutions = [conv2d, separable_conv2d]
    own = settings.of_family(MOBILENET_V1)
    normalization = {"decay": own.batch_norm_decay, "epsilon": own.batch_norm_epsilon}
    yield convolutions, {"weights_initializer": settings.initializer(), "normalizer_fn": batch_norm}
    if settings.activation != DEFAULT_ACTIVATION:
        yield convolutions, {"activation_fn": keras.activations.get(settings.activation)}
    yield [batch_norm], {"center": True, "scale": True, **normalization}
    yield [batch_norm, dropout], {"is_training": settings.is_training}
    if settings.dropout is not None:
        yield [dropout], {"keep_prob": 1 - settings.dropout}
    yield [conv2d], {"weights_regularizer": settings.regularizer()}
    yield [separable_conv2d], {"weights_regularizer": settings.depthwise_regularizer()}
