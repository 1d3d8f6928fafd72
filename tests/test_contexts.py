"""Convolutions in other contexts: compiled by XLA, in half precision, on several devices, in a SavedModel."""

import itertools

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from checks import assert_close, in_part
from processes import run_forked

from tfsep import layers, ops
from tfsep.ops import _lowering
from tfsep.ops._export_context import is_compiling

KINDS = {
    "depthwise": (ops.depthwise_conv2d, oracles.depthwise_conv2d, (3, 2, 3, 2)),
    "standard": (ops.conv2d, oracles.conv2d, (3, 2, 3, 4)),
    "grouped": (ops.conv2d, oracles.conv2d, (3, 2, 1, 6)),
}
WINDOWS = list(itertools.product((1, 2, (1, 2)), (1, 2, (2, 3)), ("same", 1)))


def tensors(shape):
    rng = np.random.default_rng(0)
    return [tf.constant(rng.normal(size=s).astype("f")) for s in ((2, 9, 8, 3), shape)]


def with_gradients(op, *options):
    def run(x, w):
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = op(x, w, *options)
            loss = tf.reduce_sum(y * y)
        return y, *tape.gradient(loss, [x, w])

    return run


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("noticed", [True, False])
@pytest.mark.parametrize(("stride", "rate", "padding"), in_part(WINDOWS[::3], 2))
def test_compiled_by_xla(kind, noticed, stride, rate, padding, monkeypatch):
    """Also where XLA's compilation is not detected: slower then, but correct."""
    if not noticed:
        monkeypatch.setattr(_lowering, "is_compiling", lambda: False)
    op, oracle, shape = KINDS[kind]
    x, w = tensors(shape)
    run = with_gradients(op, stride, padding, rate)
    results = tf.function(run, jit_compile=True, autograph=False)(x, w)
    assert_close(results[0], oracle(x.numpy(), w.numpy(), stride, padding, rate))
    for compiled, eager in zip(results, run(x, w), strict=True):
        assert_close(compiled, eager)


def test_gradient_outside_a_compiled_function():
    x, w = tensors((3, 2, 3, 2))
    run = tf.function(lambda x, w: ops.depthwise_conv2d(x, w, 2, "same", 2), jit_compile=True, autograph=False)
    expected = with_gradients(ops.depthwise_conv2d, 2, "same", 2)(x, w)
    for compiled, eager in zip(with_gradients(run)(x, w), expected, strict=True):
        assert_close(compiled, eager)


def test_is_compiling():
    seen = []

    def look(x):
        seen.append(is_compiling())
        return x

    inner = tf.function(look, autograph=False)
    tf.function(look, jit_compile=True, autograph=False)(1.0)
    tf.function(lambda x: inner(x) + 0.0, jit_compile=True, autograph=False)(1.0)
    tf.function(look, autograph=False)(2.0)
    look(1.0)
    assert seen == [True, True, False, False]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize(("stride", "rate"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_mixed_precision(policy, stride, rate):
    """Half-precision numbers in, float32 weights and gradients, one rounding from the exact result."""
    layer = layers.DepthwiseConv2D(3, stride, "same", 2, rate=rate, dtype=policy)
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 9, 8, 3)).astype("f"))
    with tf.GradientTape() as tape:
        y = layer(x)
        loss = tf.reduce_sum(y)
    (gradient,) = tape.gradient(loss, [layer.kernel.value])
    half = layer.compute_dtype
    assert y.dtype == half
    assert gradient.dtype == "float32"
    rounded = [tf.cast(tf.cast(v, half), "float64").numpy() for v in (x, layer.kernel.value)]
    exact = oracles.depthwise_conv2d(*rounded, stride, "same", rate)
    tolerance = 0.02 if half == "bfloat16" else 0.003
    assert_close(tf.cast(y, "float64"), exact, tolerance)
    grouped = rounded[1].reshape(3, 3, 1, 6)
    _, _, to_filter = oracles.products(rounded[0], grouped, np.ones(exact.shape), stride, "same", rate)
    assert_close(gradient, to_filter.reshape(3, 3, 3, 2), tolerance)


ON_TWO_DEVICES = """
import numpy as np, tensorflow as tf, keras
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfsep import layers
x = np.random.default_rng(0).normal(size=(8, 9, 8, 3)).astype("f")

def gradient(strategy):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((9, 8, 3)), layers.SeparableConv2D(4, 3, 2, "same", rate=2)])
    kernel = model.layers[0].depthwise_kernel.value

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(x) ** 2)
        return tape.gradient(loss, kernel)

    parts = tf.split(tf.constant(x), strategy.num_replicas_in_sync)
    given = strategy.experimental_distribute_values_from_function(lambda c: parts[c.replica_id_in_sync_group])
    return strategy.reduce("SUM", strategy.run(step, (given,)), axis=None)

two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert two.num_replicas_in_sync == 2
one = gradient(tf.distribute.OneDeviceStrategy("CPU:0"))
np.testing.assert_allclose(gradient(two), one, rtol=1e-4, atol=1e-4)
print(float(tf.norm(one)))
"""


def test_gradients_on_two_devices():
    """Each half of a batch on a device of its own: the gradients add up to the whole batch's."""
    done = run_forked(ON_TWO_DEVICES)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) > 1


SIGNATURE = [tf.TensorSpec((None, None, None, 3))]


class Convolution(tf.Module):
    """A convolution of any image, for a SavedModel."""

    def __init__(self, w):
        super().__init__()
        self.w = tf.Variable(w)

    @tf.function(input_signature=SIGNATURE)
    def run(self, x):
        return ops.depthwise_conv2d(x, self.w, 2, "same", 2)


class Gradient(Convolution):
    """The same, with its gradient computed inside."""

    @tf.function(input_signature=SIGNATURE)
    def run(self, x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(ops.depthwise_conv2d(x, self.w, 2, "same", 2) ** 2)
        return tape.gradient(loss, self.w)


FROM_SAVED_MODELS = """
import sys, numpy as np, tensorflow as tf
x, forward, gradient = np.load(sys.argv[1]), tf.saved_model.load(sys.argv[2]), tf.saved_model.load(sys.argv[3])
assert "tfsep" not in sys.modules
with tf.GradientTape() as tape:
    loss = tf.reduce_sum(forward.run(x) ** 2)
print(*(float(tf.reduce_sum(v ** 2)) for v in (forward.run(x), gradient.run(x), tape.gradient(loss, forward.w))))
assert forward.run(x[:0]).shape == (0, 5, 4, 6)
"""


def test_saved_model_without_tfsep(tmp_path):
    """Loaded where tfsep is not: the result, a gradient computed inside, and a gradient taken there."""
    x, w = tensors((3, 2, 3, 2))
    np.save(tmp_path / "x.npy", x)
    for kind in (Convolution, Gradient):
        tf.saved_model.save(kind(w), tmp_path / kind.__name__)
    done = run_forked(FROM_SAVED_MODELS, *(tmp_path / name for name in ("x.npy", "Convolution", "Gradient")))
    assert done.returncode == 0, done.stderr[-2000:]
    y, _, to_w = with_gradients(ops.depthwise_conv2d, 2, "same", 2)(x, w)
    expected = [float(tf.reduce_sum(value**2)) for value in (y, to_w, to_w)]
    np.testing.assert_allclose([float(value) for value in done.stdout.split()], expected, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_empty_batch_in_a_graph(kind):
    """Graph optimization would remove the reshape of an empty result as one that changes nothing."""
    op, _, shape = KINDS[kind]
    x, w = tensors(shape)
    for count in (None, 0):
        run = tf.function(lambda x, w: op(x, w, 2, "same", 2), autograph=False)
        spec = tf.TensorSpec((count, 9, 8, 3)), tf.TensorSpec(w.shape)
        run = run.get_concrete_function(*spec)
        assert run(x[:0], w).shape == (0, 5, 4, op(x, w, 2, "same", 2).shape[3])


SHAPED_AS_IMAGES = {
    "3×3": (ops.conv2d, (3, 3, 3, 3), (1, "same"), True),
    "a rate": (ops.conv2d, (3, 3, 3, 3), (1, "same", 2), True),
    "groups": (ops.conv2d, (3, 3, 1, 3), (1, "same"), True),
    "pixels": (ops.depthwise_conv2d, (3, 3, 3, 1), (1, 1), True),
    "1×1": (ops.conv2d, (1, 1, 3, 3), (), True),
    "larger again": (ops.depthwise_conv2d, (3, 3, 3, 1), (1, ((2, 1), (1, 1))), False),
    "other channels": (ops.conv2d, (1, 1, 3, 6), (), False),
    "smaller": (ops.conv2d, (3, 3, 3, 3), (2, "same"), False),
}


@pytest.mark.parametrize(("op", "shape", "options", "as_images"), SHAPED_AS_IMAGES.values(), ids=SHAPED_AS_IMAGES)
def test_reshapes_of_results_with_an_unknown_batch(op, shape, options, as_images):
    """None where the shape is the images': TensorFlow fuses nothing across one. Behind padding, too, which it fuses."""
    x, w = tensors(shape)
    inner = tf.function(lambda x: op(x, w, *options), input_signature=[tf.TensorSpec((None, *x.shape[1:]))])
    operations = {each.type for each in inner.get_concrete_function().graph.get_operations()}
    assert ("Reshape" in operations) != as_images
    pads = [(0, 0), (1, 2), (2, 1), (0, 0)]
    padded = tf.function(
        lambda x: tf.nn.relu(
            tf.nn.bias_add(op(tf.pad(x, pads), w, *options), tf.zeros(shape[3] if op is ops.conv2d else 3))
        )
    )
    for count in (0, 2):
        assert inner(x[:count]).shape == (count, *op(x, w, *options).shape[1:])
        traced = padded.get_concrete_function(tf.TensorSpec((None, *x.shape[1:])))
        assert traced(x[:count]).shape == (count, *op(tf.pad(x, pads), w, *options).shape[1:])


def test_models_on_an_empty_batch():
    inputs = keras.Input((9, 8, 3))
    model = keras.Sequential([inputs, layers.DepthwiseSeparableConv(5, strides=2), layers.Conv2D(7, 3)])
    none = np.zeros((0, 9, 8, 3), "f")
    assert tf.function(model)(none).shape == (0, 3, 2, 7)
    assert model.predict_on_batch(none).shape == (0, 3, 2, 7)


@pytest.mark.parametrize(("stride", "rate"), in_part([(2, 1), (1, 1), (1, 2), (2, 2)], 2))
@pytest.mark.parametrize("kind", KINDS)
def test_jacobians(kind, stride, rate):
    """Contracted with a random vector: the loop's gradients. TensorFlow vectorizes those of groups wrongly."""
    op, _, shape = KINDS[kind]
    x, w = tensors(shape)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x, w])
        y = op(x, w, stride, "same", rate)
    upstream = np.random.default_rng(1).normal(size=y.shape)
    jacobians = tape.jacobian(y, [x, w], experimental_use_pfor=kind != "grouped")
    contracted = (np.tensordot(upstream, jacobian, 4) for jacobian in jacobians)
    grouped = w.numpy().reshape(*w.shape[:2], 1, -1) if kind == "depthwise" else w.numpy()
    _, *gradients = oracles.products(x.numpy(), grouped, upstream, stride, "same", rate)
    for ours, exact in zip(contracted, gradients, strict=True):
        assert_close(ours, exact.reshape(ours.shape), 1e-5)


def test_vectorized_map():
    x, w = tensors((3, 2, 3, 2))
    one_by_one = tf.vectorized_map(lambda image: ops.depthwise_conv2d(image[None], w, 2, "same", 2)[0], x)
    assert_close(one_by_one, ops.depthwise_conv2d(x, w, 2, "same", 2), 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_upstream_gradient_of_unknown_shape(kind):
    """An upstream gradient of unknown rank."""
    op, _, shape = KINDS[kind]
    x, w = tensors(shape)
    upstream = tf.ones_like(op(x, w, 2, "same", 3))

    @tf.function(input_signature=[tf.TensorSpec(None)], autograph=False)
    def gradients(upstream):
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = op(x, w, 2, "same", 3)
        return tape.gradient(y, [x, w], output_gradients=upstream)

    with tf.GradientTape() as tape:
        tape.watch([x, w])
        y = op(x, w, 2, "same", 3)
    for ours, expected in zip(gradients(upstream), tape.gradient(y, [x, w], upstream), strict=True):
        assert_close(ours, expected, 1e-6)
