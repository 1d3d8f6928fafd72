"""Each convolution goes by what the device computes correctly that it will run on."""

import re
from collections import Counter

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from checks import assert_close
from processes import run_forked

from tfsep import layers, ops
from tfsep.ops import _devices, _lowering
from tfsep.ops import _kernel_probe as probe
from tfsep.ops._tf_kernels import DEPTHWISE_KERNELS, STANDARD_KERNELS

PRODUCTS = ("forward", "input_gradient", "filter_gradient")
OPTIONS = (2, "same", 2)
HALVES_AND_DOUBLE = ("bfloat16", "float16", "float64")


class Answers(list):
    """What the probe was asked, and answers by kind of device, in place of the probe."""

    def __init__(self, **kinds):
        super().__init__()
        self.kinds = kinds

    def __call__(self, product, kernels, dtype, strides, rate, groups, per_group, device, compiled):
        self.append((device, compiled))
        return self.kinds[device]

    @property
    def devices(self):
        return {device for device, _ in self}


@pytest.fixture
def asked(monkeypatch):
    """Two kinds of device: the CPU, which has no native kernel, and a GPU, which has them all, and they are wrong."""
    answers = Answers(CPU=False, GPU=True)
    monkeypatch.setattr(_lowering, "computes_correctly", answers)
    for module in (_devices, _lowering):
        monkeypatch.setattr(module, "kinds_there", lambda: ("CPU", "GPU"))
    for kernels in (DEPTHWISE_KERNELS, STANDARD_KERNELS):
        wrong = {name: poisoned(getattr(kernels, name)) for name in PRODUCTS}
        monkeypatch.setattr(_lowering, f"{kernels.name.upper()}_KERNELS", kernels._replace(**wrong))
    return answers


def poisoned(kernel):
    return lambda *given: kernel(*given) * np.nan


def tensors():
    rng = np.random.default_rng(0)
    return [tf.constant(rng.normal(size=shape).astype("f")) for shape in ((2, 9, 8, 3), (3, 3, 3, 2))]


def products(x, w):
    with tf.GradientTape() as tape:
        tape.watch([x, w])
        y = ops.depthwise_conv2d(x, w, *OPTIONS)
    return y, *tape.gradient(y, [x, w])


def assert_right(values):
    x, w = (value.numpy() for value in tensors())
    exact = oracles.products(x, w.reshape(3, 3, 1, 6), np.ones(values[0].shape), (2, 2), "same", (2, 2))
    for ours, right in zip(values, exact, strict=True):
        assert_close(ours, right.reshape(ours.shape), 1e-5)


def test_kinds_of_this_machine():
    there = _devices.kinds_there()
    assert there[0] == "CPU"
    assert set(there) == {device.device_type for device in tf.config.list_logical_devices()}


def test_eager(asked):
    assert_right(products(*tensors()))
    assert asked.devices == {"CPU"}


@pytest.mark.parametrize("device", ["CPU", "GPU", "/GPU:0"])
def test_traced_for_a_device(asked, device):
    """Its device decides, and the other is not asked. (There is no GPU here, so that the GPU's kernels run at all.)"""

    @tf.function(autograph=False)
    def run(x, w):
        with tf.device(device):
            return products(x, w)

    values = run(*tensors())
    kind = device.strip("/")[:3]
    assert asked.devices == {kind}
    assert not any(op.type == "DeviceIndex" for op in run.get_concrete_function(*tensors()).graph.get_operations())
    if kind == "CPU":
        assert_right(values)
    else:
        assert all(np.isnan(value).all() for value in values)


def test_traced_for_any_device(asked):
    """One trace is called on every device, so the choice is made when it runs."""
    run = tf.function(products, autograph=False)
    assert_right(run(*tensors()))
    assert asked.devices == {"CPU", "GPU"}
    traced = len(asked)
    with tf.device("CPU"):
        assert_right(run(*tensors()))
    assert len(asked) == traced
    types = [op.type for op in run.get_concrete_function(*tensors()).graph.get_operations()]
    assert types.count("DeviceIndex") == 3


def test_nothing_to_choose_where_devices_agree(asked):
    asked.kinds["GPU"] = False
    run = tf.function(products, autograph=False).get_concrete_function(*tensors())
    assert asked.devices == {"CPU", "GPU"}
    assert not any(op.type == "DeviceIndex" for op in run.graph.get_operations())
    assert_right(run(*tensors()))


def test_gradient_on_another_device(asked):
    """A gradient is computed where it is traced, not where its convolution was."""

    @tf.function(autograph=False)
    def run(x, w):
        with tf.GradientTape() as tape, tf.device("GPU"):
            tape.watch([x, w])
            y = ops.depthwise_conv2d(x, w, *OPTIONS)
        asked.clear()
        with tf.device("CPU"):
            return y, *tape.gradient(y, [x, w], tf.ones_like(y))

    y, *gradients = run(*tensors())
    assert asked.devices == {"CPU"}
    assert np.isnan(y).all()
    exact = products(*tensors())
    for ours, right in zip(gradients, exact[1:], strict=True):
        assert_close(ours, right)


def test_data_set(asked):
    """`tf.data` runs what it traces on the CPU."""
    x, w = tensors()
    mapped = tf.data.Dataset.from_tensors(x).map(lambda x: products(x, w))
    assert_right(next(iter(mapped)))


def test_user_graph(asked):
    x, w = (value.numpy() for value in tensors())
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        y = ops.depthwise_conv2d(tf.constant(x), tf.constant(w), *OPTIONS)
        value = session.run(y)
    assert_close(value, oracles.depthwise_conv2d(x, w, 2, "same", 2), 1e-5)


def test_groups_are_right_on_every_device(asked):
    """Groups are convolved at once only if every device can: the gradients' device may be another."""
    rng = np.random.default_rng(0)
    x, w = (tf.constant(rng.normal(size=shape).astype("f")) for shape in ((1, 7, 7, 4), (3, 3, 2, 4)))
    with tf.GradientTape() as tape:
        tape.watch(w)
        y = ops.conv2d(x, w, padding="same")
    assert asked.devices == {"CPU", "GPU"}
    _, _, exact = oracles.products(x.numpy(), w.numpy(), np.ones(y.shape), (1, 1), "same", (1, 1))
    assert_close(tape.gradient(y, w, tf.ones_like(y)), exact)


@pytest.mark.parametrize("groups", [2, 4])
def test_groups_compiled_for_a_cpu(groups):
    """Each by itself, or as a depthwise convolution: XLA's gradients of groups take a hundred times as long there."""
    rng = np.random.default_rng(0)
    x, w = (tf.constant(rng.normal(size=shape).astype("f")) for shape in ((2, 7, 7, 4), (3, 2, 4 // groups, 8)))

    @tf.function(jit_compile=True, autograph=False)
    def run(x, w):
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = ops.conv2d(x, w, *OPTIONS)
        return y, *tape.gradient(y, [x, w])

    values = run(x, w)
    exact = oracles.products(x.numpy(), w.numpy(), np.ones(values[0].shape), (2, 2), "same", (2, 2))
    for ours, right in zip(values, exact, strict=True):
        assert_close(ours, right)
    convolved = [op for op in run.get_concrete_function(x, w).graph.get_operations() if op.type.startswith("Conv2D")]
    assert all(op.inputs[1].shape[2] == 2 for op in convolved if op.type == "Conv2D")
    assert bool(convolved) == (groups == 2)


def test_half_precision_on_a_gpu(asked, monkeypatch):
    """A rate by phases in half precision, and the gradient to x of a stride in float32, which a GPU sums exactly in."""

    def answer(product, kernels, dtype, strides, rate, groups, per_group, device, compiled):
        return max(rate) == 1 and (product != "input_gradient" or dtype == "float32")

    monkeypatch.setattr(_lowering, "computes_correctly", answer)
    monkeypatch.setattr(_lowering, "DEPTHWISE_KERNELS", DEPTHWISE_KERNELS)
    x, w = (tf.cast(value, "float16") for value in tensors())

    def types(stride, rate):
        def run(x, w):
            with tf.GradientTape() as tape, tf.device("GPU"):
                tape.watch([x, w])
                y = ops.depthwise_conv2d(x, w, stride, "same", rate)
                return tape.gradient(y, [x, w])

        graph = tf.function(run, autograph=False).get_concrete_function(x, w).graph
        return {op.type: op.outputs[0].dtype.name for op in graph.get_operations() if op.type.startswith("Depthwise")}

    rate = types(1, 2)
    assert rate == dict.fromkeys(("DepthwiseConv2dNative", "DepthwiseConv2dNativeBackpropFilter"), "float16")
    assert types(2, 1) == {**rate, "DepthwiseConv2dNativeBackpropInput": "float32"}


@pytest.mark.parametrize("writer", ["keras", "tf.saved_model"])
def test_a_saved_graph_is_right_on_every_device(asked, tmp_path, writer):
    """It has no choice in it, for readers that do not know the op."""
    model = keras.Sequential([keras.Input((9, 8, 3)), layers.DepthwiseConv2D(3, 2, "same", rate=2)])
    asked.clear()
    if writer == "keras":
        model.export(tmp_path, format="tf_saved_model", verbose=False)
    else:
        tf.saved_model.save(model, str(tmp_path))
    assert asked.devices == {"CPU", "GPU"}
    assert b"DeviceIndex" not in (tmp_path / "saved_model.pb").read_bytes()
    x = tensors()[0]
    (y,) = tf.saved_model.load(str(tmp_path)).signatures["serving_default"](x).values()
    assert_close(y, model(x), 1e-5)


@pytest.mark.parametrize("device", ["CPU", "GPU", None])
def test_compiled_for_a_device(asked, device, monkeypatch):
    """XLA is right everywhere: what differs is what is fast, products by taps on a CPU, native ops on others."""
    for name, kernels in (("DEPTHWISE_KERNELS", DEPTHWISE_KERNELS), ("STANDARD_KERNELS", STANDARD_KERNELS)):
        monkeypatch.setattr(_lowering, name, kernels)
    if device == "GPU":  # of which there is none to compile for
        monkeypatch.setattr(_lowering, "kinds_here", lambda compiled: ("GPU",))
    with tf.device(device):
        run = tf.function(products, jit_compile=True, autograph=False)
        assert_right(run(*tensors()))
    assert set(asked) == ({("GPU", True)} if device == "GPU" else set())
    types = {op.type for op in run.get_concrete_function(*tensors()).graph.get_operations()}
    assert "DeviceIndex" not in types
    native = {f"DepthwiseConv2dNative{name}" for name in ("", "BackpropInput", "BackpropFilter")}
    assert native & types == (native if device == "GPU" else set())


def test_a_graph_without_a_device_is_compiled_for_the_accelerator(asked):
    with tf.Graph().as_default():
        assert _devices.kinds_here(compiled=True) == ("GPU",)
        assert _devices.kinds_here(compiled=False) == ("CPU", "GPU")


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("kernels", [DEPTHWISE_KERNELS, STANDARD_KERNELS], ids=lambda kernels: kernels.name)
@pytest.mark.parametrize("dtype", ["float32", *(pytest.param(d, marks=pytest.mark.slow) for d in HALVES_AND_DOUBLE)])
def test_xla_computes_native_ops(kernels, product, dtype):
    """With strides, rates and groups together."""
    cases = ((1, 1), (17, 1)) if kernels is STANDARD_KERNELS else ((1, 1),)
    for groups, per_group in cases:
        assert probe.computes_correctly(product, kernels, dtype, (2, 2), (2, 2), groups, per_group, "CPU", True)


def compiled_operations(layer, x):
    """How often each operation occurs in what XLA makes of a layer and its gradients, with its shape and its window."""
    layer(x)
    weights = [variable.value for variable in layer.trainable_variables]

    @tf.function(jit_compile=True, autograph=False)
    def both(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        return y, tape.gradient(y, [x, *weights], tf.ones_like(y))

    program = both.experimental_get_compiler_ir(x)(stage="optimized_hlo")
    operation = re.compile(r"= (?P<shape>\S+) (?P<name>[a-z-]+)\(.*?(?P<window>window=\{.*?\}|$)", re.MULTILINE)
    return Counter(found.groups() for found in operation.finditer(program))


@pytest.mark.parametrize(
    ("name", "stride"),
    [
        ("Conv2D", 2),
        ("Conv2DTranspose", 2),
        pytest.param("Conv2D", 1, marks=pytest.mark.slow),
        pytest.param("Conv2DTranspose", 1, marks=pytest.mark.slow),
    ],
)
def test_xla_compiles_the_same_of_keras_layers(name, stride):
    """So neither is faster."""
    x = tf.ones((2, 8, 8, 4))
    makers = (getattr(library, name) for library in (layers, keras.layers))
    mine, theirs = (compiled_operations(make(6, 3, stride, "same", use_bias=False), x) for make in makers)
    assert any(operation == "convolution" and window for _, operation, window in mine)
    assert mine == theirs


def test_compiled_kernel_that_xla_lacks(monkeypatch):
    def raises(*_):
        raise ValueError("no such kernel")

    monkeypatch.setitem(probe._KINDS, "standard", STANDARD_KERNELS._replace(forward=raises))
    probe._passes.cache_clear()
    assert not probe.computes_correctly("forward", STANDARD_KERNELS, "float32", (1, 1), (1, 1), 1, 3, "CPU", True)
    probe._passes.cache_clear()


@pytest.fixture
def fresh():
    """A probe with an empty cache, and TensorFlow's setting of the precision of float32, before and after the test."""
    probe._passes.cache_clear()
    enabled = tf.config.experimental.tensor_float_32_execution_enabled()
    yield
    tf.config.experimental.enable_tensor_float_32_execution(enabled)
    probe._passes.cache_clear()


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_gpu_is_judged_by_the_precision_that_it_is_set_to(product, fresh, monkeypatch):
    """Numbers rounded to 10 bits before they are multiplied, which a kernel does only where it may."""
    right = getattr(STANDARD_KERNELS, product)

    def rounded(value):
        if value.dtype != tf.float32:
            return tf.cast(tf.cast(value, "float32"), value.dtype)
        bits = tf.bitcast(value, "int32")
        return tf.bitcast((bits + (1 << 12)) & ~((1 << 13) - 1), "float32")

    def in_tensor_float_32(one, other, *rest):
        return right(rounded(one), rounded(other), *rest)

    def off_by_a_percent(one, other, *rest):
        return right(one, other, *rest) * 1.01

    def computes(kernel, dtype, device):
        monkeypatch.setitem(probe._KINDS, "standard", STANDARD_KERNELS._replace(**{product: kernel}))
        return probe.computes_correctly(product, STANDARD_KERNELS, dtype, (1, 1), (1, 1), 1, 3, device)

    for enabled in (True, False, True):
        tf.config.experimental.enable_tensor_float_32_execution(enabled)
        assert computes(in_tensor_float_32, "float32", "GPU") == enabled
        assert not computes(in_tensor_float_32, "float32", "CPU")
    probe._passes.cache_clear()
    assert not computes(off_by_a_percent, "float32", "GPU")
    probe._passes.cache_clear()
    assert computes(right, "float64", "GPU")
    probe._passes.cache_clear()
    assert not computes(lambda *given: right(*given) * (1 + 2**-12), "float64", "GPU")


ON_TWO_KINDS = """
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfsep import ops
from tfsep.ops import _devices, _lowering
_devices._kind = lambda name: name and ("CPU", "GPU")[tf.DeviceSpec.from_string(name).device_index or 0]
asked = set()
_lowering.computes_correctly = lambda *case: bool(asked.add(case[7]))
x, w = tf.ones((2, 9, 8, 3)), tf.ones((3, 3, 3, 1))

def gradient(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = ops.depthwise_conv2d(x, w, 2, "same", 2)
    return tape.gradient(y, x)

def report(run):
    asked.clear()
    run()
    print(*sorted(asked))

def on_the_second():
    with tf.device("CPU:1"):
        gradient(x)

report(lambda: gradient(x))
report(on_the_second)
two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
one = tf.distribute.OneDeviceStrategy("CPU:1")
for strategy in (two, one):
    report(tf.function(lambda: strategy.run(lambda: gradient(x)), autograph=False))
"""


def test_two_devices():
    """In eager code and in replicas, each device is asked for its own convolutions."""
    done = run_forked(ON_TWO_KINDS)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split("\n")[:4] == ["CPU", "GPU", "CPU GPU", "GPU"]
