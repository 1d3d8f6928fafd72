"""Functions of TensorFlow between the layers of a Keras 2 model, as layers of Keras 3."""

import inspect
import re
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

from tfsep._keras.backend import keras, tf
from tfsep._keras.saved_model import UnreadableModelError
from tfsep._keras.types import Tensor

ADVICE = "save it as a SavedModel with Keras 2, the extra keras2"
"""What to do about a layer of Keras 2 that Keras 3 cannot have."""

OPERATIONS = ("TFOpLambda", "SlicingOpLambda")
"""Keras 2's classes of these layers."""

_MODULES = re.compile(r"(math|nn|linalg|image|signal|__operators__|compat\.v1\.(math|nn|image))\.[a-z]\w*")
_TOP_LEVEL = frozenset(
    re.findall(
        r"\w+",
        "abs add argmax argmin boolean_mask broadcast_to cast clip_by_value concat cos cumsum einsum equal exp "
        "expand_dims fill gather gather_nd greater greater_equal identity less less_equal logical_and logical_not "
        "logical_or matmul maximum minimum multiply negative not_equal one_hot ones ones_like pad pow range rank "
        "reduce_all reduce_any reduce_max reduce_mean reduce_min reduce_prod reduce_sum repeat reshape reverse roll "
        "round shape sigmoid sign sin size slice split sqrt square squeeze stack strided_slice subtract tan tanh "
        "tensordot tile transpose unstack where zeros zeros_like",
    )
)
"""Functions that compute and do nothing else: all of some modules, and of the one above them these."""

_CONSTANT, _TENSOR, _ELLIPSIS = "_CONSTANT_VALUE", "__tensor__", "__ellipsis__"


def _function(name: str) -> Callable[..., Any]:
    """A function of TensorFlow by its public name.

    Raises:
        UnreadableModelError: for one that may do more than compute.
    """
    try:
        found = attrgetter(name)(tf)
    except AttributeError:
        found = None
    computes = _MODULES.fullmatch(name) or name.removeprefix("compat.v1.") in _TOP_LEVEL
    if not computes or not inspect.isfunction(found):
        raise UnreadableModelError(f"it has the function tf.{name} between its layers, which is not loaded: {ADVICE}")
    return found


@keras.saving.register_keras_serializable(package="tfsep")
class FormerOperation(keras.layers.Layer):
    """A call of a function of TensorFlow.

    Args:
        function: public name of the function, such as ``"math.add"``.
        first: its first argument.
        options: its others by name; in both, ``{"__tensor__": i}`` stands for tensor i of the layer's inputs.
        **kwargs: arguments of `keras.layers.Layer`.

    Raises:
        UnreadableModelError: for a function that may do more than compute.
    """

    def __init__(self, function: str, first: Any, options: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function, self.first, self.options = function, first, dict(options)
        self._call = _function(function)

    def call(self, inputs: Tensor | list[Tensor]) -> Any:
        """Call the function."""
        tensors = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        return self._call(_filled(self.first, tensors), **_filled(self.options, tensors))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "function": self.function, "first": self.first, "options": self.options}


def _filled(value: Any, tensors: list[Tensor]) -> Any:
    """An argument with its tensors, slices and dots."""
    if isinstance(value, Mapping):
        if _TENSOR in value:
            return tensors[value[_TENSOR]]
        if value.get("class_name") == _ELLIPSIS:
            return ...
        if set(value) == {"start", "stop", "step"}:
            return slice(*(_filled(value[key], tensors) for key in ("start", "stop", "step")))
        return {key: _filled(each, tensors) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(each, tensors) for each in value]
    return value


def operation_layer(layer: Mapping[str, Any], is_tensor: Callable[[Any], bool]) -> dict[str, Any]:
    """Return the config of a layer of Keras 2 as that of a `FormerOperation`, called on the tensors.

    Args:
        layer: the layer's config in a model's.
        is_tensor: whether a value of such a config is a tensor.

    Raises:
        UnreadableModelError: for a layer that is called more than once or without tensors, or a function that may do
            more than compute.
    """
    config, nodes = layer["config"], layer["inbound_nodes"]
    if len(nodes) != 1:
        raise UnreadableModelError(f"its {layer['class_name']} {config['name']!r} is called {len(nodes)} times")
    tensors: list[list[Any]] = []

    def marked(value: Any) -> Any:
        if is_tensor(value):
            tensors.append(value[:3])
            return {_TENSOR: len(tensors) - 1}
        if isinstance(value, list) and value[:2] == [_CONSTANT, -1]:
            return marked(value[2])
        if isinstance(value, list):
            return [marked(each) for each in value]
        return {key: marked(each) for key, each in value.items()} if isinstance(value, Mapping) else value

    node = nodes[0]
    # The options stand behind the first tensor, or behind each tensor of a list.
    given = node[3] if is_tensor(node) or node[:1] == [_CONSTANT] else node[0][3]
    first = marked(node)
    options = {key: marked(value) for key, value in given.items() if not (key == "name" and value is None)}
    _function(config["function"])
    if not tensors:
        # As of einsum, of which Keras 2 writes the first argument only, and which it does not load again itself.
        raise UnreadableModelError(
            f"its {layer['class_name']} {config['name']!r} lacks its tensors, which it was saved without"
        )
    own = {"name": config["name"], "function": config["function"], "first": first, "options": options}
    return {
        **keras.saving.serialize_keras_object(FormerOperation("identity", None, {})),
        "name": config["name"],
        "config": own,
        "build_config": None,
        "inbound_nodes": [[[*tensor, {}] for tensor in tensors]],
    }
