"""Functions of each number in front of, between and behind integer layers: tables, or islands that end in a choice."""

import keras
import numpy as np
import pytest
from checks import in_part

from tfsep import quantize, tflite
from tfsep._keras.model_graph import operation_of
from tfsep.defs._layer_def import ACTIVATIONS

L, K = keras.layers, keras.ops
X = 2 * np.random.default_rng(0).normal(size=(32, 4, 4, 4)).astype("float32")
relu = keras.activations.relu

# Keras's `threshold` has arguments without defaults.
BY_NAME = {name: name for name in ACTIVATIONS if name != "threshold"}
WITH_ARGUMENTS = {
    "threshold": lambda x: keras.activations.threshold(x, 0.3, -0.1),
    "relu from": L.ReLU(threshold=0.3),
    "relu from, to": L.ReLU(max_value=1, threshold=0.3),
    "relu from, to, with a slope": lambda x: relu(x, 0.1, 0.7, 0.3),
    "relu to 6, with a slope": L.ReLU(max_value=6, negative_slope=0.1),
    "relu to less than from": L.ReLU(max_value=0.2, threshold=0.3),
    "relu from below 0": lambda x: relu(x, threshold=-0.5),
    "relu to below 0": lambda x: relu(x, max_value=-0.5),
    "a slope below 0": lambda x: K.leaky_relu(x, -0.3),
    "a slope of 1": lambda x: K.leaky_relu(x, 1.0),
    "a slope above 1": lambda x: relu(x, negative_slope=1.5),
    "where": lambda x: K.where(x > 0.1, x, 0.1 * x),
    "a cast condition": lambda x: x * K.cast(K.not_equal(x, 0.0), "float32") * K.sign(x),
}
FUNCTIONS = BY_NAME | WITH_ARGUMENTS


def of(function, x):
    return (L.Activation(function) if isinstance(function, str) else function)(x)


PLACES = {
    "first": lambda f: lambda x: L.Dense(2)(of(f, x)),
    "inside": lambda f: lambda x: L.Dense(2)(L.Conv2D(4, 3, activation=f)(x)),
    "between": lambda f: lambda x: L.Dense(2)(of(f, L.Conv2D(4, 3)(x))),
    "last": lambda f: lambda x: of(f, L.Conv2D(4, 3)(x)),
}


def require_same(makes, path, runtime):
    """Export a model with an input and an output for each function, and return the names that stay in float32.

    Every element is the model's; those of outputs in float32 are no integers of the file.
    """
    keras.utils.set_random_seed(1)
    inputs = [L.Input(X.shape[1:]) for _ in makes]
    model = keras.Model(inputs, [make(x) for make, x in zip(makes, inputs, strict=True)])
    given = (X,) * len(makes)
    prepared = quantize.observe(quantize.prepare(model, runtime=runtime), given)
    found = tflite.export(prepared, path, "int8", data=given).verification
    assert not (found.differing if found.unexplained is None else found.unexplained)
    assert found.elements or found.max_error < 1e-4
    islands = {row.name for row in quantize.coverage(prepared).islands}
    last = [operation_of(output).name in islands for output in model.outputs]
    sizes = [np.prod(output.shape[1:]) * len(X) for output in model.outputs]
    assert (found.elements or 0) == sum(size for size, is_float in zip(sizes, last, strict=True) if not is_float)
    return islands


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["xnnpack", "reference"])
@pytest.mark.parametrize("place", PLACES)
def test_every_function_in_every_place(place, runtime, tmp_path):
    names = list(BY_NAME if place == "inside" else FUNCTIONS)
    for start in range(0, len(names), 8):
        makes = [PLACES[place](FUNCTIONS[name]) for name in names[start : start + 8]]
        require_same(makes, tmp_path / "m.tflite", runtime)


@pytest.mark.parametrize("runtime", in_part(["xnnpack", "reference"], 2))
def test_functions_that_choose(runtime, tmp_path):
    few = [("first", "sparse_plus"), ("first", "relu from"), ("inside", "sparse_plus"), ("last", "hard_shrink")]
    few += [("between", "relu from below 0"), ("between", "a slope of 1"), ("between", "relu to 6, with a slope")]
    islands = require_same([PLACES[place](FUNCTIONS[name]) for place, name in few], tmp_path / "m.tflite", runtime)
    assert len(islands) == (5 if runtime == "xnnpack" else 0)


def steps(x):
    return L.Reshape((4, 4))(x)


ENDS = {
    "vectors of length 1": L.UnitNormalization(),
    "layers": L.LayerNormalization(),
    "gates": keras.activations.glu,
    "logarithms": K.log_softmax,
    "groups": L.GroupNormalization(2),
    "roots": L.Activation("squareplus"),
    "means of channels first": L.GlobalAveragePooling2D(data_format="channels_first"),
    "normalized products": lambda x: L.Dot(-1, normalize=True)([steps(x), steps(x + 1.0)]),
    "steps": lambda x: L.GRU(2)(steps(x)),
    "attention": lambda x: L.MultiHeadAttention(1, 2)(steps(x), steps(x)),
    "a choice": lambda x: K.where(K.abs(x) > 0.1, x, 0.0),
    "sorted": K.sort,
    "a function of a function": lambda x: K.sigmoid(K.sin(K.sigmoid(x))),
    "cubic": L.UpSampling2D(2, interpolation="bicubic"),
}


@pytest.mark.parametrize(
    ("start", "runtime"), in_part([(0, "xnnpack"), (4, "xnnpack"), (9, "xnnpack"), (4, "reference")], 4)
)
def test_islands_at_the_end_are_in_float32_in_the_file(start, runtime, tmp_path):
    makes = [PLACES["last"](make) for make in list(ENDS.values())[start : start + (5 if start else 4)]]
    islands = require_same(makes, tmp_path / "m.tflite", runtime)
    assert len(islands) >= 4 or runtime == "reference"
