"""Models of Keras 2: their configs with what Keras 3 names otherwise, or does not know, put right."""

import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py

from tfsep._keras.backend import keras
from tfsep._keras.types import Tensor

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
    "Lambda": ("function_type", "module", "output_shape_type", "output_shape_module"),
}
"""Keys that Keras 2 writes and does not use in inference, by class."""

_FORMER: dict[str, tuple[str, Any]] = {
    **dict.fromkeys(_TRANSPOSED, ("groups", 1)),
    **dict.fromkeys(_RECURRENT, ("time_major", False)),
    "BatchNormalization": ("renorm", False),
    "InputLayer": ("ragged", False),
}
"""A key that Keras 3 has no more, by class, and the one value at which leaving it out changes nothing."""

_GONE = {
    "TFOpLambda": "an operator of TensorFlow between its layers",
    "SlicingOpLambda": "a slice between its layers",
    "ThresholdedReLU": "a ThresholdedReLU layer",
}
"""Classes of Keras 2 that Keras 3 lacks, in words."""


class UnreadableModelError(ValueError):
    """A file with something that Keras 3 does not have; the message is half a sentence."""


@keras.saving.register_keras_serializable(package="tfsep")
def former_hard_sigmoid(x: Tensor) -> Tensor:
    """Return Keras 2's hard sigmoid, 0.2·x + 0.5 between 0 and 1; Keras 3's is x/6 + 0.5."""
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def patched_file(path: Path, folder: Path) -> Path:
    """Copy an ``.h5`` or ``.keras`` file into a folder, with a config that Keras 3 reads; return the path of the copy.

    Raises:
        UnreadableModelError: for a layer that Keras 3 does not have.
        OSError: for a damaged file.
    """
    copy = folder / path.name
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
            for name in source.namelist():
                content = source.read(name)
                target.writestr(name, json.dumps(patched(json.loads(content))) if name == "config.json" else content)
        return copy
    shutil.copyfile(path, copy)
    with h5py.File(copy, "r+") as file:
        file.attrs["model_config"] = json.dumps(patched(json.loads(file.attrs["model_config"]))).encode()
    return copy


def is_of_keras2(path: Path) -> bool:
    """Return whether Keras 2 wrote a ``.keras`` or ``.h5`` file.

    Raises:
        UnreadableModelError: for an ``.h5`` file of weights alone.
        OSError, KeyError, ValueError: for a damaged file.
    """
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read("metadata.json")).get("keras_version", "")).startswith("2.")
    with h5py.File(path) as file:
        if "model_config" not in file.attrs:
            raise UnreadableModelError("it holds weights and no model: build the model, and call its load_weights")
        return not str(file.attrs.get("keras_version", "2.")).startswith("3.")


def patched(config: Any) -> Any:
    """Return a model's config with every layer's keys those of Keras 3.

    Raises:
        UnreadableModelError: for a layer that Keras 3 does not have, or an option of it.

    Examples:
        >>> patched({"class_name": "LSTM", "config": {"units": 2, "time_major": False}})
        {'class_name': 'LSTM', 'config': {'units': 2}}
        >>> patched({"class_name": "LSTM", "config": {"name": "a", "units": 2, "time_major": True}})
        Traceback (most recent call last):
        tfsep.models._keras2_config.UnreadableModelError: its LSTM 'a' has time_major=True, which Keras 3 has not
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
    if value.get("class_name") == "Functional" and "module" in value:
        value = {**value, "module": "keras.models", "class_name": "Model"}
    if isinstance(value.get("config"), Mapping) and "class_name" in value:
        value = {**value, "config": _layer_config(str(value["class_name"]), value["config"])}
    mapped = {key: _mapped(each, rename) for key, each in value.items() if key != "build_config"}
    return {**mapped, **{key: _single(mapped[key]) for key in _ENDS if key in mapped}}


_ENDS = ("input_layers", "output_layers")


def _single(ends: Any) -> Any:
    """The one input or output of a model as itself: Keras 2 lists it, and returns it alone all the same."""
    return ends[0] if isinstance(ends, list) and len(ends) == 1 and isinstance(ends[0], list) else ends


def _layer_config(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    if name in _GONE:
        raise UnreadableModelError(
            f"it has {_GONE[name]}, which Keras 3 has not: save it as a SavedModel with Keras 2, the extra keras2"
        )
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
    if isinstance(axis := own.get("axis"), list) and name == "BatchNormalization" and len(axis) == 1:
        own["axis"] = axis[0]
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


def with_patched_copy(path: Path, load: Callable[[Path], Any]) -> Any:
    """Return what a function makes of a copy of a file that Keras 3 reads."""
    with tempfile.TemporaryDirectory(prefix="tfsep-") as folder:
        return load(patched_file(path, Path(folder)))
