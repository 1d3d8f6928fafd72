"""Reading variables and collections back."""

import re
from typing import Any

from tfsep._keras.backend import tf
from tfsep._utils.arguments import short_repr
from tfsep.slim._graph import current_graph

KEYS = tf.compat.v1.GraphKeys

_ELSEWHERE = {
    KEYS.REGULARIZATION_LOSSES: "model.losses",
    KEYS.UPDATE_OPS: "the step of training itself",
}


def named(collection: str, scope: Any = None) -> list[tuple[str, Any]]:
    """Return slim's names and what has them, of a collection and a scope, a regular expression that a name begins with.

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


def get_collection(key: str, scope: Any = None) -> list[Any]:
    """Return what a collection holds, as ``tf.compat.v1.get_collection`` does.

    Args:
        key: a collection named in `variables_collections` or `outputs_collections`, or ``"variables"``,
            ``"model_variables"`` or ``"trainable_variables"``.
        scope: a regular expression that names begin with, or a scope.

    Raises:
        ValueError: for regularization losses and update ops, which Keras keeps elsewhere.

    Examples:
        >>> from tfsep import slim
        >>> net = slim.fully_connected(keras.Input((8,)), 4, outputs_collections="ends")
        >>> slim.get_collection("ends")[0] is net
        True
    """
    return [thing for _, thing in named(key, scope)]


def get_variables(scope: Any = None, suffix: str | None = None, collection: str = KEYS.GLOBAL_VARIABLES) -> list[Any]:
    """Return the variables of a scope whose slim names end in `suffix`, in the order in which they were made.

    Args:
        scope: a regular expression that names begin with, or a scope; None for all.
        suffix: a regular expression that names end with.
        collection: where to look.

    Raises:
        ValueError: as `get_collection`.

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


def get_model_variables(scope: Any = None, suffix: str | None = None) -> list[Any]:
    """Return what `get_variables` does: every variable made here is a model's.

    Examples:
        >>> from tfsep import slim
        >>> net = slim.batch_norm(keras.Input((8,)))
        >>> len(slim.get_model_variables())
        3
    """
    return get_variables(scope, suffix, KEYS.MODEL_VARIABLES)


def get_trainable_variables(scope: Any = None, suffix: str | None = None) -> list[Any]:
    """Return those of `get_variables` that are trained.

    Examples:
        >>> from tfsep import slim
        >>> net = slim.batch_norm(keras.Input((8,)))
        >>> len(slim.get_trainable_variables())
        1
    """
    return get_variables(scope, suffix, KEYS.TRAINABLE_VARIABLES)


def get_variables_by_suffix(suffix: str, scope: Any = None) -> list[Any]:
    """Return what `get_variables` does, with its arguments the other way round.

    Examples:
        >>> from tfsep import slim
        >>> net = slim.batch_norm(keras.Input((8,)))
        >>> len(slim.get_variables_by_suffix("moving_mean"))
        1
    """
    return get_variables(scope, suffix)


def get_variables_by_name(given_name: str, scope: Any = None) -> list[Any]:
    """Return the variables with this name in whatever scope, or in one.

    Args:
        given_name: slim's, without a scope: ``"weights"``, ``"depthwise_weights"``, ``"biases"``, ``"beta"``...
        scope: as in `get_variables`.

    Examples:
        >>> from tfsep import slim
        >>> net = slim.separable_conv2d(keras.Input((8, 8, 3)), 16, 3, scope="sep")
        >>> [tuple(v.shape) for v in slim.get_variables_by_name("depthwise_weights")]
        [(3, 3, 3, 1)]
    """
    return get_variables(scope, f"/{given_name}:|^{given_name}:")


def get_unique_variable(var_op_name: str) -> Any:
    """Return the variable of this whole name.

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


def get_variables_to_restore(include: Any = None, exclude: Any = None) -> list[Any]:
    """Return the variables of some scopes without those of others.

    Args:
        include: a list of scopes; None for all.
        exclude: a list of scopes; None for none.

    Raises:
        TypeError: if one is no list or tuple.

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
