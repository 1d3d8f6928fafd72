"""Models that do not convert: the operator, its layer, the recipe and what to do, in a sentence of our own."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_refused, in_part
from keras import layers as L
from keras import ops

from tfsep import tflite

RNG = np.random.default_rng(0)
CONVERTERS_OWN = (
    "Placeholder",
    "error:",
    "custom op",
    "node",
    ".cc",
    "callsite",
    "not yet supported",
    "PartitionedCall",
)


class Own(L.Layer):
    """A layer that computes a function of TensorFlow."""

    def __init__(self, function, **options):
        super().__init__(**options)
        self.function = function

    def call(self, x):
        return self.function(x)

    def compute_output_shape(self, shape):
        return shape


class Cell(L.Layer):
    state_size = 3

    def call(self, x, states):
        y = tf.math.digamma(x + states[0])
        return y, [y]


class Subclassed(keras.Model):
    """A model with an operator in its own call, and one in a layer inside."""

    def __init__(self):
        super().__init__()
        self.inner = Own(tf.math.digamma, name="own")

    def call(self, x):
        return self.inner(tf.math.erfinv(x))


def functional(*stack, shape=(4, 3), dtype="float32"):
    y = inputs = keras.Input(shape, dtype=dtype)
    for each in stack:
        y = each(y)
    return keras.Model(inputs, y)


def in_float64(x):
    return tf.cast(tf.matmul(tf.cast(x, "float64"), tf.eye(3, dtype="float64")), "float32")


def of_six_axes_or_more(x):
    return tf.transpose(tf.reshape(x, (1, 1, 2, 2, 1, 1, 3)), (0, 2, 1, 4, 3, 6, 5))


def in_one_branch(x):
    return tf.cond(tf.reduce_sum(x) > 0, lambda: tf.math.erfinv(x), lambda: x)


def in_cases(x):
    return tf.switch_case(tf.cast(x[0, 0, 0], "int32"), [lambda: x, lambda: 2 * x, lambda: 3 * x])


def in_a_loop(x):
    return tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, tf.math.erfinv(y)), (0, x))[1]


def subclassed():
    model = Subclassed()
    model(np.zeros((1, 4, 3), "float32"))
    return model


FLEX, OTHER = "give allow_flex=True, or another layer", "take another layer"
WITHOUT_COUNTERPART = {
    "operation": (lambda: functional(ops.inv, shape=(3, 3)), f"MatrixInverse of 'inv': {FLEX}"),
    "operation of other operators": (lambda: functional(ops.signbit), f"BitwiseAnd of 'signbit': {FLEX}"),
    "nested operation": (
        lambda: functional(keras.Model(*_ends(ops.erfinv), name="inner")),
        f"Erfinv of 'erfinv' in 'inner': {OTHER}",
    ),
    "nested layer": (
        lambda: functional(keras.Sequential([L.Dense(3), Own(tf.math.erfinv, name="odd")], name="inner")),
        f"Erfinv of 'odd' in 'inner': {OTHER}",
    ),
    "activation": (
        lambda: functional(L.Dense(3, activation=tf.math.erfinv, name="last")),
        f"Erfinv of 'last': {OTHER}",
    ),
    "Lambda": (
        lambda: functional(L.Lambda(tf.math.erfinv, output_shape=(4, 3), name="odd")),
        f"Erfinv of 'odd': {OTHER}",
    ),
    "table": (
        lambda: functional(L.IntegerLookup(vocabulary=[3, 4], name="table"), dtype="int64"),
        f"LookupTableFindV2 of 'table': {FLEX}",
    ),
    "subclassed": (subclassed, f"Erfinv of the model's own call; Digamma of 'own': {OTHER}"),
    "branch": (lambda: functional(Own(in_one_branch, name="branch")), f"Erfinv of 'branch': {OTHER}"),
    "cases": (lambda: functional(Own(in_cases, name="cases")), f"Case of 'cases': {OTHER}"),
    "loop": (lambda: functional(Own(in_a_loop, name="loop")), f"Erfinv of 'loop': {OTHER}"),
    "function": (lambda: functional(Own(tf.function(tf.math.erfinv), name="graph")), f"Erfinv of 'graph': {OTHER}"),
    "cell": (lambda: functional(L.RNN(Cell(name="cell"), name="rnn")), f"Digamma of 'cell' in 'rnn': {OTHER}"),
    "code": (
        lambda: functional(Own(lambda x: tf.numpy_function(np.sin, [x], "float32"), name="py")),
        f"PyFunc of 'py': {OTHER}",
    ),
    "type": (
        lambda: functional(L.Dense(3, name="right"), Own(in_float64, name="wide")),
        f"BatchMatMulV2 in float64 of 'wide': {FLEX}",
    ),
    "two": (
        lambda: functional(ops.inv, Own(tf.math.erfinv, name="odd"), shape=(3, 3)),
        f"MatrixInverse of 'inv'; Erfinv of 'odd': {OTHER}",
    ),
}


def _ends(function):
    inputs = keras.Input((4, 3))
    return inputs, function(inputs)


def refused(model, folder, recipe, **options):
    """The sentence of a refusal, behind the names of recipe and model."""
    text = assert_refused(lambda: tflite.export(model, folder / "m.tflite", recipe, **options), "model")
    assert repr(recipe) in text
    assert not any(word in text for word in CONVERTERS_OWN), text
    assert not list(folder.iterdir())
    return text.split(f"got {model.name!r}", maxsplit=1)[1]


@pytest.mark.parametrize("case", in_part(WITHOUT_COUNTERPART, 3))
def test_operators_without_a_counterpart_name_their_layers(case, tmp_path):
    make, said = WITHOUT_COUNTERPART[case]
    model = make()
    # Keras numbers operations by what else the process has made.
    text = re.sub(r"_\d+(?=')", "", refused(model, tmp_path, "float32"))
    assert text == f": TensorFlow Lite has no operator for {said}"


def test_every_recipe_says_the_same(tmp_path):
    model, x = functional(Own(tf.math.erfinv, name="odd")), RNG.uniform(-0.5, 0.5, (16, 4, 3))
    for recipe, own in tflite.RECIPES.items():
        calibration = x if own.needs_calibration else None
        assert "Erfinv of 'odd'" in refused(model, tmp_path, recipe, calibration=calibration)


def test_operators_without_a_kernel_in_int16_name_their_layers(tmp_path):
    """Where all of a file would be in float32."""
    model = functional(L.Conv3D(2, 2, name="space"), shape=(3, 3, 3, 2))
    text = refused(model, tmp_path, "int16x8", calibration=RNG.normal(size=(16, 3, 3, 3, 2)))
    said = "TensorFlow Lite has no operator in int16 for CONV_3D of 'space'"
    assert text == f": {said}: take recipe 'int8', or another layer"


def test_integers_that_are_not_measured_name_the_layer_that_takes_them(tmp_path):
    """As in a network with a state, whose graph stays in one part."""
    inputs = keras.Input((4, 3), batch_size=1)
    state = L.SimpleRNN(5, stateful=True, unroll=True)(inputs)
    model = keras.Model(inputs, L.Embedding(9, 4, name="table")(ops.argmax(state, -1) + 1))
    text = refused(model, tmp_path, "int16x8", calibration=RNG.normal(size=(16, 4, 3)))
    assert text.startswith(": TensorFlow Lite's converter measures no range of what ")
    assert text.endswith("of 'table' take: take another recipe, or another layer")


def test_ids_past_a_table_name_the_layer_that_takes_them(tmp_path):
    model = functional(L.Embedding(9, 4, name="table"), L.Dense(3), shape=(5,), dtype="int32")
    ids = RNG.integers(0, 9, (16, 5))
    text = refused(model, tmp_path, "int8", calibration=ids + 9)
    assert "LiteRT does not compute GATHER of 'table' on the calibration data (gather index out of bounds)" in text
    for recipe in ("float32", "int8"):
        run = lambda recipe=recipe: tflite.export(model, tmp_path / "m.tflite", recipe, ids, data=ids + 9)  # noqa: E731
        assert "expected samples that" in assert_refused(run, "data")
    path = tflite.export(model, tmp_path / "m.tflite", data=ids).path
    text = assert_refused(lambda: tflite.predict(path, ids + 9), "data")
    assert text.endswith("got others (gather index out of bounds)")


def test_loops_in_integers_name_their_layers(tmp_path):
    for layer, said in (
        (L.GRU(3, name="gru"), "'gru'"),
        (Own(lambda x: tf.map_fn(tf.tanh, x), name="map"), "'map'"),
        (L.Bidirectional(L.GRU(3, name="gru"), name="both"), "'forward_gru' in 'both', 'backward_gru' in 'both'"),
    ):
        text = refused(functional(layer), tmp_path, "int8", calibration=RNG.normal(size=(16, 4, 3)))
        assert text == f" with one of {said}: give recurrent layers unroll=True, or take another recipe"


def test_operators_that_litert_does_not_compute_name_their_layers(tmp_path):
    """A divisor that rounds to zero, in a file that converts."""
    model = functional(L.Dense(3), Own(lambda x: 1 / (1 + x * x), name="quotient"), L.Dense(2))
    x = RNG.normal(size=(16, 4, 3))
    model.layers[1].set_weights([1e3 * np.eye(3), np.zeros(3)])
    text = refused(model, tmp_path, "int8", calibration=x)
    assert "LiteRT does not compute DIV of 'quotient' there" in text
    assert text.endswith("take another recipe, or other data")


def test_models_that_do_not_run_name_the_layer(tmp_path):
    def fails(x):
        raise RuntimeError("the cause\nand its history") if tf.is_symbolic_tensor(x) else None

    class Odd(Own):
        def call(self, x):
            return x if isinstance(x, keras.KerasTensor) else self.function(x)

    for function, said in ((fails, "the cause"), (lambda x: tf.reshape(x, (7,)), "Cannot reshape a tensor with 12")):
        model = functional(keras.Sequential([L.Dense(3), Odd(function, name="odd")], name="inner"))
        text = assert_refused(lambda model=model: tflite.export(model, tmp_path / "m.tflite"), "model")
        assert f"where 'odd' in 'inner' fails: {said}" in text
        assert "{{" not in text
