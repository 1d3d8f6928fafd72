"""Models of Keras 2: their configs with what Keras 3 names otherwise, or does not know, put right."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tfsep._keras.backend import keras
from tfsep._keras.saved_model import UnreadableModelError
from tfsep._keras.types import Tensor
from tfsep.models._former_operation import ADVICE, OPERATIONS, operation_layer

_TRANSPOSED = ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
_DEPTHWISE = ("DepthwiseConv1D", "DepthwiseConv2D")
_SEPARABLE = ("SeparableConv1D", "SeparableConv2D")
_RECURRENT = ("SimpleRNN", "LSTM", "GRU", "RNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")

_WITHOUT_MEANING: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_DEPTHWISE, ("groups",)),
    **dict.fromkeys(_SEPARABLE, ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint")),
    **dict.fromkeys(("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"), ("trainable", "noise_shape")),
    "MultiHeadAttention": ("query_shape", "key_shape", "value_shape", "softmax_robust_masking"),
    "BatchNormalization": ("fused", "virtual_batch_size"),
    "Discretization": ("trainable", "dtype"),
    "Lambda": ("function_type", "module", "output_shape_type", "output_shape_module"),
}
"""Keys that Keras 2 writes and does not use in inference, by class."""

_FORMER: dict[str, tuple[str, Any]] = {
    "Attention": ("score_mode", "dot"),
    **dict.fromkeys(_TRANSPOSED, ("groups", 1)),
    **dict.fromkeys(_RECURRENT, ("time_major", False)),
    "BatchNormalization": ("renorm", False),
    "InputLayer": ("ragged", False),
}
"""A key that Keras 3 has no more, or takes for another name, and the value at which leaving it out changes nothing."""

_GONE = (
    "ThresholdedReLU",
    "LocallyConnected1D",
    "LocallyConnected2D",
    "RandomHeight",
    "RandomWidth",
    "RandomFourierFeatures",
    "DenseFeatures",
)
"""Classes of Keras 2 that Keras 3 lacks."""

_RENAMED: dict[str, tuple[str, dict[str, Any]]] = {
    "SyncBatchNormalization": ("BatchNormalization", {"synchronized": True}),
    # Keras 3 infers without a crop, Keras 2 with this one.
    "RandomCrop": ("Resizing", {"crop_to_aspect_ratio": True}),
}
"""Classes that stand for others of Keras 3 with more options, which infer the same."""


@keras.saving.register_keras_serializable(package="tfsep")
def former_hard_sigmoid(x: Tensor) -> Tensor:
    """Return Keras 2's hard sigmoid, 0.2·x + 0.5 between 0 and 1; Keras 3's is x/6 + 0.5."""
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def patched(config: Any) -> Any:
    """Return a model's config with every layer's keys those of Keras 3.

    Raises:
        UnreadableModelError: for a layer that Keras 3 does not have, or an option of it.

    Examples:
        >>> patched({"class_name": "LSTM", "config": {"units": 2, "time_major": False}})
        {'class_name': 'LSTM', 'config': {'units': 2}}
        >>> patched({"class_name": "LSTM", "config": {"name": "a", "units": 2, "time_major": True}})
        Traceback (most recent call last):
        tfsep._keras.saved_model.UnreadableModelError: its LSTM 'a' has time_major=True, which Keras 3 has not
    """
    renamed = {name: name.replace("/", "_") for name in _names(config) if "/" in name}
    return _mapped(config, lambda text: renamed.get(text, text))


def _mapped(value: Any, rename: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return rename(value)
    if isinstance(value, list):
        return [_mapped(each, rename) for each in value]
    if not isinstance(value, Mapping):
        return value
    if value.get("class_name") in ("Policy", "PolicyV1"):
        return value["config"]["name"]
    if value.get("class_name") in _RENAMED and isinstance(value.get("config"), Mapping):
        name, options = _RENAMED[value["class_name"]]
        kept = {key: each for key, each in value["config"].items() if key not in ("seed", "rng_type")}
        value = {**value, "class_name": name, "config": {**kept, **options}, **_MODULE}
    if value.get("class_name") == "Functional" and "module" in value:
        value = {**value, "module": "keras.models", "class_name": "Model"}
    if isinstance(value.get("config"), Mapping) and "class_name" in value:
        value = {**value, "config": _layer_config(str(value["class_name"]), value["config"])}
        if isinstance(value["config"].get("axis"), list):
            # Keras leaves several axes out of a layer that has no module.
            value = {**value, **_MODULE}
    if isinstance(value.get("layers"), list):
        value = _with_calls_of_keras3(value)
    mapped = {key: _mapped(each, rename) for key, each in value.items() if key != "build_config"}
    return {**mapped, **{key: _single(mapped[key]) for key in _ENDS if key in mapped}}


_ENDS = ("input_layers", "output_layers")
_MODULE = {"module": "keras.layers", "registered_name": None}


def _with_calls_of_keras3(model: Mapping[str, Any]) -> dict[str, Any]:
    """A model's config with the calls of its layers as Keras 3 counts and writes them."""
    layers = [layer for layer in model["layers"] if isinstance(layer.get("config"), Mapping)]
    names = {layer["config"].get("name") for layer in layers}
    # Keras 2 counts the call that made a nested model, unless it was made without an input.
    nested = {
        layer["config"]["name"]: layer["class_name"]
        for layer in layers
        if isinstance(inner := layer["config"].get("layers"), list)
        and (layer["class_name"] != "Sequential" or (inner[:1] and inner[0]["class_name"] == "InputLayer"))
    }

    def is_tensor(value: Any) -> bool:
        is_list = isinstance(value, list) and len(value) > 2
        return is_list and isinstance(value[0], str) and value[0] in names and isinstance(value[1], int)

    layers = [
        operation_layer(layer, is_tensor) if layer["class_name"] in OPERATIONS and layer.get("inbound_nodes") else layer
        for layer in layers
    ]

    def counted(tensor: list[Any]) -> list[Any]:
        return [tensor[0], tensor[1] - (tensor[0] in nested), *tensor[2:]]

    def written(tensor: list[Any]) -> dict[str, Any]:
        config = {"shape": [], "dtype": "float32", "keras_history": tensor[:3]}
        return {"class_name": "__keras_tensor__", "config": config}

    def call(node: Any, class_name: str) -> Any:
        if not isinstance(node, list) or not all(map(is_tensor, node)):
            return node
        tensors = [counted(tensor) for tensor in node]
        options = tensors[0][3] if len(tensors[0]) > 3 else {}
        has_state = class_name in _RECURRENT and len(tensors) > 1
        if not has_state and not any(map(is_tensor, options.values())):
            return tensors
        given = [written(tensor) for tensor in tensors]
        named = {key: written(counted(each)) if is_tensor(each) else each for key, each in options.items()}
        if has_state:
            given, named = given[:1], {**named, "initial_state": given[1:]}
        return {"args": given if len(given) == 1 else [given], "kwargs": named}

    made = [
        {**layer, "inbound_nodes": [call(node, layer["class_name"]) for node in layer["inbound_nodes"]]}
        if layer.get("inbound_nodes")
        else layer
        for layer in layers
    ]
    # At a model's ends Keras 3 counts the first call of Functional models itself.
    ends = {
        key: [counted(end) if is_tensor(end) and nested.get(end[0]) == "Sequential" else end for end in model[key]]
        for key in _ENDS
        if isinstance(model.get(key), list)
    }
    return {**model, "layers": made, **ends}


def _single(ends: Any) -> Any:
    """The one input or output of a model as itself: Keras 2 lists it, and returns it alone all the same."""
    return ends[0] if isinstance(ends, list) and len(ends) == 1 and isinstance(ends[0], list) else ends


def _layer_config(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    if name in _GONE:
        raise UnreadableModelError(f"it has a {name} layer, which Keras 3 has not: {ADVICE}")
    own = {key: value for key, value in config.items() if key not in _WITHOUT_MEANING.get(name, ())}
    if name.startswith("Random"):
        own.pop("rng_type", None)
    if name != "InputLayer":
        # That of the input layer in front says the same.
        own.pop("batch_input_shape", None)
    key, meaningless = _FORMER.get(name, ("", None))
    if own.pop(key, meaningless) != meaningless:
        raise UnreadableModelError(
            f"its {name} {config.get('name')!r} has {key}={config[key]!r}, which Keras 3 has not"
        )
    for key in ("activation", "recurrent_activation"):
        if own.get(key) == "hard_sigmoid":
            own[key] = keras.saving.serialize_keras_object(former_hard_sigmoid)
    if isinstance(axis := own.get("axis"), list) and name == "BatchNormalization":
        if len(axis) > 1:
            raise UnreadableModelError(f"its {name} {config.get('name')!r} has axis={axis}, which Keras 3 has not")
        own["axis"] = axis[0]
    if name == "Lambda" and isinstance(code := own.get("function"), list) and len(code) == 3:
        if code[1] is not None:
            raise UnreadableModelError(
                f"its Lambda {config.get('name')!r} has arguments with defaults, which Keras 3 does not load: {ADVICE}"
            )
        own["function"] = {
            "class_name": "__lambda__",
            "config": dict(zip(("code", "defaults", "closure"), code, strict=True)),
        }
    return own


def _names(value: Any) -> Iterator[str]:
    """The names of all layers."""
    if isinstance(value, list):
        for each in value:
            yield from _names(each)
    if isinstance(value, Mapping):
        config = value.get("config")
        if isinstance(config, Mapping) and "class_name" in value and isinstance(name := config.get("name"), str):
            yield name
        for each in value.values():
            yield from _names(each)
