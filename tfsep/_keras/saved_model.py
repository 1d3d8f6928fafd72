"""SavedModels of TensorFlow and Keras 2, as Keras models of one layer."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import Model, Tensor


class UnreadableModelError(ValueError):
    """A file with something that Keras 3 does not have; the message is half a sentence."""


_ENDPOINTS = ("serving_default", "serve")


def is_saved_model(path: Path) -> bool:
    """Return whether a path is the folder of a SavedModel."""
    return path.is_dir() and any((path / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt"))


def load_saved_model(path: Path) -> Model:
    """Load a SavedModel by its signature: a Functional model whose inputs and outputs have the signature's names.

    They are in the order of their names. It infers; the weights are the layer's.

    Raises:
        UnreadableModelError: for one with several graphs, without a signature or with several and no default, or with
            inputs that are no tensors of known rank.
    """
    signatures = _loaded(path).signatures
    name = next((name for name in (*_ENDPOINTS, *signatures) if name in signatures), None)
    if name is None:
        raise UnreadableModelError("it has no signature: save it with signatures=")
    if name not in _ENDPOINTS and len(signatures) > 1:
        raise UnreadableModelError(
            f"it has signatures {', '.join(signatures)}, and none named serving_default: take one by "
            "keras.layers.TFSMLayer"
        )
    # A signature is a map without order, which TensorFlow reads in another one each time.
    specs: Mapping[str, Any] = dict(sorted(signatures[name].structured_input_signature[1].items()))
    for what, some in (("inputs", specs), ("outputs", signatures[name].structured_outputs)):
        if not some:
            raise UnreadableModelError(f"its signature {name!r} has no {what}")
    for key, spec in specs.items():
        if not isinstance(spec, tf.TensorSpec) or spec.shape.rank in (None, 0) or spec.dtype == tf.string:
            raise UnreadableModelError(f"its input {key!r} is {spec}: expected a tensor of numbers with a batch")
    layer = _Signature(str(path), call_endpoint=name, name=path.name)
    inputs = {
        key: keras.Input(batch_shape=tuple(spec.shape), dtype=spec.dtype.name, name=key) for key, spec in specs.items()
    }
    outputs = layer(inputs)
    return keras.Model(_alone(inputs), _alone(outputs), name=path.name)


def _loaded(path: Path) -> Any:
    """The SavedModel's functions."""
    try:
        return tf.saved_model.load(str(path))
    except ValueError as error:
        if found := re.search(r"there are (\d+) MetaGraphs .*tag sets: \[(.*)\]", str(error)):
            tags = f" {found[1]} graphs, tagged {found[2]}" if found[2] else " none"
            raise UnreadableModelError(f"it has to have one graph, and has{tags}") from error
        raise


class _Signature(keras.layers.TFSMLayer):
    """Keras's layer, which calls a signature of one input, with a dict of any number of them."""

    def call(self, inputs: dict[str, Tensor], training: bool = False) -> dict[str, Tensor]:
        """Call the signature."""
        del training
        return dict(sorted(self.call_endpoint_fn(**inputs).items()))


def _alone(tensors: dict[str, Any]) -> Any:
    """The one tensor of a dict, or all of several."""
    return next(iter(tensors.values())) if len(tensors) == 1 else tensors
