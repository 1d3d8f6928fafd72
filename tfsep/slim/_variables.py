"""Look-up of variables and collections."""

import re
from collections.abc import Sequence
from typing import Any

from tfsep._keras.backend import tf
from tfsep._utils.arguments import short_repr
from tfsep.slim._graph import current_graph
from tfsep.slim._types import ScopeLike, Variable

KEYS = tf.compat.v1.GraphKeys

_ELSEWHERE = {
    KEYS.REGULARIZATION_LOSSES: "model.losses",
    KEYS.UPDATE_OPS: "the step of training itself",
}


def named(collection: str, scope: ScopeLike = None) -> list[tuple[str, Any]]:
    """Return the contents of a collection, with slim's names, whose names begin with the scope.

    Raises:
        ValueError: for a collection whose content Keras keeps elsewhere.
    """
    if collection in _ELSEWHERE:
        raise ValueError(f"collection: expected one that slim fills, got {collection!r}: see {_ELSEWHERE[collection]}")
    graph = current_graph()
    variables = list(graph.variables.items())
    if collection == KEYS.TRAINABLE_VARIABLES:
        trained = {id(variable) for layer in graph.layers.values() for variable in layer.trainable_weights}
        found = [(name, variable) for name, variable in variables if id(variable) in trained]
    elif collection in (KEYS.GLOBAL_VARIABLES, KEYS.MODEL_VARIABLES):
        found = variables
    else:
        found = graph.collection(collection)
    pattern = getattr(scope, "name", scope) or ""
    return [(name, thing) for name, thing in found if re.match(pattern, f"{name}:0")]


def get_collection(key: str, scope: ScopeLike = None) -> list[Any]:
    """Return the contents of a collection; the counterpart of ``tf.compat.v1.get_collection``.

    Args:
        key: a collection named in `variables_collections` or `outputs_collections`, or ``"variables"``,
            ``"model_variables"`` or ``"trainable_variables"``.
        scope: a regular expression for the beginning of names, or a scope; None for all.

    Raises:
        ValueError: for regularization losses and update ops, which Keras keeps elsewhere.

    Examples:
        >>> from tfsep import slim
        >>> net = slim.fully_connected(keras.Input((8,)), 4, outputs_collections="ends")
        >>> slim.get_collection("ends")[0] is net
        True
    """
    return [thing for _, thing in named(key, scope)]


def get_variables(
    scope: ScopeLike = None, suffix: str | None = None, collection: str = KEYS.GLOBAL_VARIABLES
) -> list[Variable]:
    """Return the variables of a scope, in the order of their creation.

    Args:
        scope: a regular expression for the beginning of names, or a scope; None for all.
        suffix: a regular expression for the end of names; None for all.
        collection: to look in.

    Raises:
        ValueError: for regularization losses and update ops, which Keras keeps elsewhere.

    Examples:
        >>> from tfsep import slim
        >>> net = slim.separable_conv2d(keras.Input((8, 8, 3)), 16, 3, scope="sep")
        >>> [tuple(v.shape) for v in slim.get_variables(suffix="weights")]
        [(3, 3, 3, 1), (1, 1, 3, 16)]
    """
    pattern = getattr(scope, "name", scope) or ""
    if suffix is not None:
        pattern += ".*" + (suffix if ":" in suffix else f"{suffix}:")
    return get_collection(collection, pattern)


def get_model_variables(scope: ScopeLike = None, suffix: str | None = None) -> list[Variable]:
    """Return the variables of a scope, all of which are a model's: `get_variables` of another collection.

    Args:
        scope: a regular expression for the beginning of names, or a scope; None for all.
        suffix: a regular expression for the end of names; None for all.

    Examples:
        >>> from tfsep import slim
        >>> net = slim.batch_norm(keras.Input((8,)))
        >>> len(slim.get_model_variables())
        3
    """
    return get_variables(scope, suffix, KEYS.MODEL_VARIABLES)


def get_trainable_variables(scope: ScopeLike = None, suffix: str | None = None) -> list[Variable]:
    """Return the trainable variables of a scope, in the order of their creation.

    Args:
        scope: a regular expression for the beginning of names, or a scope; None for all.
        suffix: a regular expression for the end of names; None for all.

    Returns:
        Variables without moving statistics, and without those of layers that are not trained.

    Examples:
        >>> from tfsep import slim
        >>> net = slim.batch_norm(keras.Input((8,)))
        >>> len(slim.get_trainable_variables())
        1
    """
    return get_variables(scope, suffix, KEYS.TRAINABLE_VARIABLES)


def get_variables_by_suffix(suffix: str, scope: ScopeLike = None) -> list[Variable]:
    """Return the variables of a scope by the end of their names.

    Args:
        suffix: a regular expression for the end of names; None for all.
        scope: a regular expression for the beginning of names, or a scope; None for all.

    Examples:
        >>> from tfsep import slim
        >>> net = slim.batch_norm(keras.Input((8,)))
        >>> len(slim.get_variables_by_suffix("moving_mean"))
        1
    """
    return get_variables(scope, suffix)


def get_variables_by_name(given_name: str, scope: ScopeLike = None) -> list[Variable]:
    """Return the variables of a name, in any scope or in one.

    Args:
        given_name: slim's name without the scope: ``"weights"``, ``"depthwise_weights"``, ``"biases"``, ``"beta"``...
        scope: a regular expression for the beginning of names, or a scope; None for all.

    Examples:
        >>> from tfsep import slim
        >>> net = slim.separable_conv2d(keras.Input((8, 8, 3)), 16, 3, scope="sep")
        >>> [tuple(v.shape) for v in slim.get_variables_by_name("depthwise_weights")]
        [(3, 3, 3, 1)]
    """
    return get_variables(scope, f"/{given_name}:|^{given_name}:")


def get_unique_variable(var_op_name: str) -> Variable:
    """Return a variable by its whole name.

    Args:
        var_op_name: whole name, scopes included.

    Raises:
        ValueError: if there is none.

    Examples:
        >>> from tfsep import slim
        >>> net = slim.fully_connected(keras.Input((8,)), 4, scope="fc")
        >>> slim.get_unique_variable("fc/weights") is slim.get_variables()[0]
        True
    """
    variable = current_graph().variables.get(var_op_name)
    if variable is None:
        raise ValueError(f"var_op_name: expected the whole name of a variable, got {var_op_name!r}")
    return variable


def get_variables_to_restore(
    include: Sequence[str] | None = None, exclude: Sequence[str] | None = None
) -> list[Variable]:
    """Return the variables of some scopes without those of others.

    Args:
        include: list of scopes; None for all.
        exclude: list of scopes to leave out; None for none.

    Raises:
        TypeError: if an argument is no list or tuple.

    Examples:
        >>> from tfsep import slim
        >>> net = slim.fully_connected(slim.fully_connected(keras.Input((8,)), 4, scope="fc"), 2, scope="Logits")
        >>> [tuple(v.shape) for v in slim.get_variables_to_restore(exclude=["Logits"])]
        [(8, 4), (4,)]
    """
    for value, name in ((include, "include"), (exclude, "exclude")):
        if value is not None and not isinstance(value, list | tuple):
            raise TypeError(f"{name}: expected a list or a tuple of scopes, got {short_repr(value)}")
    included = [v for scope in ([None] if include is None else include) for v in get_variables(scope)]
    excluded = {id(v) for scope in exclude or () for v in get_variables(scope)}
    return [v for v in included if id(v) not in excluded]
