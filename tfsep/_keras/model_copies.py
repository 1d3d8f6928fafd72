"""Plain models of copies of another model's layers, and models that compute in another type for a time."""

from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from tfsep._keras.backend import keras
from tfsep._keras.dtype_policy import dtype_policy
from tfsep._keras.layer_copies import BorrowedLayer, Config, copy_state, layer_copy
from tfsep._keras.model_graph import opened
from tfsep._keras.model_io import layers_in
from tfsep._keras.types import Layer, Model

_NOT_IN_FILES = ("float16", "bfloat16", "float64")
"""Types that models compute in, and for which runtimes on devices have no convolutions."""

_POLICIES = (*_NOT_IN_FILES, "mixed_float16", "mixed_bfloat16")


def rebuilt(
    source: Model,
    copied: Callable[[Any], Any],
    called: Callable[..., Any] | None = None,
    left_out: Container[Layer] = (),
) -> Model:
    """Return a plain model with a copy in place of each layer; the given one, with its layers' calls, stays as it is.

    Args:
        source: a plain model; see `tfsep._keras.model_graph.plain_model`.
        copied: a function from each layer and operation to its copy.
        called: (copy, *arguments) → result, for a Functional model; None for the copy's call.
        left_out: the layers that a Sequential model loses.
    """
    if not isinstance(source, keras.Sequential):
        return keras.models.clone_model(source, clone_function=copied, call_function=called)
    given = source.inputs[0]
    inputs = keras.Input(batch_shape=given.shape, dtype=given.dtype, name=given.name)
    stack = [copied(layer) for layer in source.layers if layer not in left_out]
    return keras.Sequential([inputs, *stack], name=source.name)


def other_dtypes(model: Model) -> list[str]:
    """Return the types beside float32 that a model's layers compute in, of those that no file computes in."""
    return sorted({layer.compute_dtype for layer in _in_other_types(model)})


class Float32Model(NamedTuple):
    """A model that computes in float32.

    Attributes:
        model: a copy of another model, or that model itself.
        switched: whether it is that model, which computes in float32 inside of `computing_in_float32` only.
    """

    model: Model
    switched: bool


def float32_model(model: Model) -> Float32Model:
    """Return a copy that computes in float32; where layers have no config to copy, the model, if it stores float32.

    Raises:
        ValueError: for a model that is neither copied nor stores float32, see `float32_copy`.
    """
    try:
        return Float32Model(float32_copy(model), switched=False)
    except ValueError:
        if any(layer.variable_dtype != "float32" for layer in _in_other_types(model)):
            raise
        return Float32Model(model, switched=True)


@contextmanager
def computing_in_float32(model: Model) -> Iterator[None]:
    """Let layers that store float32 and compute in another type compute in float32 for a time.

    Args:
        model: a built model.
    """
    former = [(layer, layer.dtype_policy) for layer in _in_other_types(model)]
    for layer, _ in former:
        layer.dtype_policy = "float32"
    try:
        yield
    finally:
        for layer, policy in former:
            layer.dtype_policy = policy


def _in_other_types(model: Model) -> list[Layer]:
    return [layer for layer in layers_in(model) if layer.compute_dtype in _NOT_IN_FILES]


def float32_copy(model: Model) -> Model:
    """Return a plain copy of a model that computes in float32, with the same numbers as weights.

    Raises:
        ValueError: for a model that overrides its call, or a layer in half precision that its config does not describe.
    """
    copies: dict[int, Any] = {}
    pairs: list[tuple[Layer, Layer]] = []

    def copied(layer: Any) -> Any:
        if id(layer) not in copies:
            copies[id(layer)] = fresh(layer)
        return copies[id(layer)]

    def fresh(layer: Any) -> Any:
        if isinstance(layer, keras.Model) and (plain := opened(layer)) is not None:
            return rebuilt(plain, copied)
        copy = layer_copy(layer, _in_float32)
        if isinstance(copy, keras.layers.Layer):
            if isinstance(copy, BorrowedLayer) and other_dtypes(layer):
                raise ValueError(
                    f"model: expected layers whose config describes them, to be made again in float32, got "
                    f"{layer.name!r} of class {type(layer).__name__} in {layer.compute_dtype}"
                )
            pairs.append((layer, copy))
        return copy

    plain = opened(model)
    if plain is None:
        raise ValueError(
            f"model: expected one that computes in float32, got {model.name!r}, which computes in "
            f"{model.compute_dtype} and has no layers to copy: make it under the policy 'float32', with these weights"
        )
    with dtype_policy("float32"):  # of layers that a layer makes for itself
        made = rebuilt(plain, copied)
    if half := other_dtypes(made):
        raise ValueError(
            f"model: expected layers that take the type of their config, got {model.name!r} with some in {half[0]}"
        )
    for layer, copy in pairs:
        copy_state(layer, copy)
    return made


def _in_float32(config: Config) -> Config:
    """A layer's config with float32 in place of the other types, in the layers inside it too."""
    edited = {name: _edited(value) for name, value in config.items()}
    return edited | {"dtype": "float32"} if _is_other(config.get("dtype")) else edited


def _edited(value: Any) -> Any:
    if isinstance(value, dict):
        return _in_float32(value)
    return type(value)(map(_edited, value)) if type(value) in (list, tuple) else value


def _is_other(dtype: Any) -> bool:
    """Whether a config's type, or policy of types, is to be replaced."""
    return (dtype.get("config", {}).get("name") if isinstance(dtype, dict) else dtype) in _POLICIES
