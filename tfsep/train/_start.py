"""A trained classifier as the beginning of a run: its layers with a new head, and stages that learn slowly or not."""

from collections.abc import Iterator
from os import PathLike
from typing import Any

import numpy as np

from tfsep._keras.backend import keras
from tfsep._keras.dtype_policy import dtype_policy
from tfsep._keras.layer_copies import Config, copy_state, layer_copy
from tfsep._keras.model_copies import rebuilt
from tfsep._keras.model_graph import Call, call_of, calls_behind, plain_model
from tfsep._keras.types import Layer, Model
from tfsep.data import ImageData, read_class_names
from tfsep.data._model_preprocessing import warn_of_other_pixels
from tfsep.models import load_model
from tfsep.quantize._prepared_model import is_prepared
from tfsep.train._config import TrainConfig
from tfsep.train._model_setup import weights_sha256

_L = keras.layers
_BEHIND_A_HEAD = (
    *(_L.Activation, _L.Softmax, _L.Flatten, _L.Reshape, _L.Identity, _L.Dropout),
    *(_L.GlobalAveragePooling2D, _L.GlobalMaxPooling2D),
)
"""Layers between the one that has a number for each class and the output."""
_PROBABILITIES = keras.activations.softmax, keras.activations.sigmoid


class Start:
    """A trained classifier, of which runs on other classes begin.

    Its last layer with weights is made anew, for the classes of the data, unless these are its own; all others are
    copied. The model itself is not changed.

    Args:
        model: the model, or its path.
        data: the data set of the run.

    Attributes:
        keeps_head: whether the classes recorded beside the model are those of the data.

    Raises:
        ValueError: for a model that is no classifier of such images, or whose layers cannot be copied.
    """

    def __init__(self, model: Model | str | PathLike[str], data: ImageData) -> None:
        own: tuple[str, ...] = ()
        if not isinstance(model, keras.Model):
            own, model = read_class_names(model), load_model(model)
        if is_prepared(model):
            raise ValueError(f"start: expected a float model, got {model.name!r}, which is prepared for int8")
        try:
            plain = plain_model(model)
        except (TypeError, ValueError) as error:
            raise ValueError(f"start: {str(error).partition(': ')[2]}") from error
        warn_of_other_pixels(plain, data.train.preprocessing)
        self._head, self._behind = _tail_of(plain)
        self._model = _without_softmax(plain)
        self._classes = len(data.class_names)
        self.keeps_head = own == tuple(data.class_names)
        shape = tuple(self._model.inputs[0].shape)
        if len(self._model.inputs) != 1 or len(shape) != 4:
            raise ValueError(f"start: expected a model of images, got {self._model.name!r} of {shape[1:]}")
        if any(side not in (None, given) for side, given in zip(shape[1:], data.image_shape, strict=True)):
            raise ValueError(
                f"start: expected a model of images {data.image_shape}, as the data are, got one of {shape[1:]}"
            )

    def identity(self) -> dict[str, Any]:
        """Return what tells this start from others, for JSON."""
        return {"start_sha256": weights_sha256(self._model)}

    def build(self, config: TrainConfig, precision: str = "float32", frozen: bool = True) -> Model:
        """Return the model from images to logits; the weights of a new head are a function of `config.seed`.

        Args:
            config: the settings, of which `seed`, `batch_norm_decay`, `sync_batch_norm` and `freeze` are used.
            precision: precision of the computation, a dtype policy.
            frozen: whether the layers of `config.freeze` stay as they are.
        """
        pairs: list[tuple[Layer, Layer]] = []

        def copied(layer: Any) -> Any:
            if isinstance(layer, keras.Model):
                return rebuilt(plain_model(layer), copied)
            copy = layer_copy(layer, lambda given: self._edited(layer, given, config, precision))
            if isinstance(copy, _L.Layer) and (layer is not self._head or self.keeps_head):
                pairs.append((layer, copy))
            return copy

        keras.utils.set_random_seed(config.seed)
        with dtype_policy(precision):
            model = rebuilt(self._model, copied)
        for layer, copy in pairs:
            copy_state(layer, copy)
        for layer, stage in stages_of(model) if frozen and config.freeze else ():
            layer.trainable = not isinstance(config.freeze, str) and stage > config.freeze
        _tail_of(model)[0].trainable = True
        return model

    def _edited(self, layer: Layer, given: Config, config: TrainConfig, precision: str) -> Config:
        """The config of a layer's copy."""
        edited = {**given, "dtype": precision, "trainable": True} if "dtype" in given else dict(given)
        if isinstance(layer, _L.BatchNormalization):
            edited |= {"momentum": config.batch_norm_decay, "synchronized": config.sync_batch_norm}
        if layer is self._head:
            edited |= {"units" if "units" in given else "filters": self._classes, "activation": "linear"}
        elif layer in self._behind and isinstance(layer, _L.Reshape):
            own = self._head.units if "units" in self._head.get_config() else self._head.filters
            edited["target_shape"] = [self._classes if side == own else side for side in given["target_shape"]]
        return edited


def _without_softmax(model: Model) -> Model:
    """A model up to its logits, where a layer of its own makes probabilities of them: the loss takes logits."""
    tensor = model.outputs[0]
    while (call := call_of(tensor)) is not None and _makes_probabilities(call.operation):
        tensor = call.inputs[0]
    return keras.Model(model.inputs[0], tensor, name=model.name)


def _makes_probabilities(layer: Any) -> bool:
    is_activation = isinstance(layer, _L.Activation) and layer.activation in _PROBABILITIES
    return is_activation or isinstance(layer, _L.Softmax)


def _tail_of(model: Model) -> tuple[Layer, list[Layer]]:
    """The layer of a classifier that has a number for each class, the last with weights, and the layers behind it.

    Raises:
        ValueError: for a model that is no classifier, or ends in other layers.
    """
    tensor = model.outputs[0]
    classes = tensor.shape[-1]
    behind: list[Layer] = []
    while (call := call_of(tensor)) is not None and call.inputs:
        layer = call.operation
        if isinstance(layer, keras.Model):
            tensor = layer.outputs[0]
            continue
        if classes in (getattr(layer, "units", None), getattr(layer, "filters", None)):
            return layer, behind
        if not isinstance(layer, _BEHIND_A_HEAD):
            break
        behind.append(layer)
        tensor = call.inputs[0]
    raise ValueError(
        f"start: expected a classifier that ends in a dense layer or a 1×1 convolution, got {model.name!r}, which ends "
        f"in {(model if call is None else call.operation).name!r}"
    )


def stages_of(model: Model) -> list[tuple[Layer, int]]:
    """Return the layers of a model with weights, each with its stage: 0 at the size of the images, 1 at half of it.

    Args:
        model: a plain model.

    Examples:
        >>> layers = [keras.layers.Conv2D(2, 3, strides=s, name=f"c{i}") for i, s in enumerate((1, 2, 1, 2))]
        >>> model = keras.Sequential([keras.Input((32, 32, 3)), *layers])
        >>> [(layer.name, stage) for layer, stage in stages_of(model)]
        [('c0', 0), ('c1', 1), ('c2', 1), ('c3', 2)]
    """
    return [(layer, stage) for layer, stage in _stages(model, 0) if layer.weights]


def _stages(model: Model, first: int) -> Iterator[tuple[Layer, int]]:
    """The layers of a model whose input is at a stage."""
    stages: dict[int, int] = {}
    for call in calls_behind(model.outputs):
        stage = max((stages.get(id(tensor), first) for tensor in call.inputs), default=first)
        if isinstance(call.operation, keras.Model):
            inner = list(_stages(call.operation, stage))
            yield from inner
            stage = max((each for _, each in inner), default=stage)
        else:
            stage += _halvings(call)
            if isinstance(call.operation, _L.Layer):
                yield call.operation, stage
        stages |= dict.fromkeys(map(id, call.outputs), stage)


def _halvings(call: Call) -> int:
    """How often a call halves rows: by its sizes, or by its strides where those are open."""
    if not call.inputs or len(call.inputs[0].shape) != 4 or len(call.outputs[0].shape) != 4:
        return 0
    before, behind = call.inputs[0].shape[1], call.outputs[0].shape[1]
    if None in (before, behind):
        strides = np.atleast_1d(getattr(call.operation, "strides", 1) or 1)
        return round(float(np.log2(max(strides))))
    return max(0, round(float(np.log2(before / behind))))


def rates_of(model: Model, factor: float) -> list[float]:
    """Return a factor of the learning rate for each trained variable of a model: 1 for its head, less for each stage.

    Args:
        model: a model of `Start.build`.
        factor: of a stage against the one behind it.
    """
    stages = {id(layer): stage for layer, stage in stages_of(model)}
    head = _tail_of(model)[0]
    last = max((stage for layer, stage in stages_of(model) if layer is not head), default=0)
    factors = {
        id(variable): 1.0 if layer is head else factor ** (last + 1 - stages[id(layer)])
        for layer, _ in stages_of(model)
        for variable in layer.trainable_variables
    }
    return [factors[id(variable)] for variable in model.trainable_variables]
