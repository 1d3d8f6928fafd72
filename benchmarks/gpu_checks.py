"""What `gpu` checks before it times anything: what is right there, and how long the probe of kernels takes."""

import itertools
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from contest import Shape


class Sizes(NamedTuple):
    """What a run is of: the kinds of devices there, how large everything is, and how long a case is timed."""

    kinds: tuple[str, ...]
    judged: bool
    seconds: float
    cases: int
    shapes: list[Shape]
    compiled_shapes: list[Shape]
    layers: slice
    side: int
    images: int

    def goal(self, ratio: float) -> float | None:
        """The ratio that a case must reach: none in a rehearsal, whose sizes say nothing of speed."""
        return ratio if self.judged else None


class Case(NamedTuple):
    """A row of the table: its name, and how its other columns come about."""

    name: str
    row: Callable[[], dict]


REACHED, NOT_REACHED, NOT_MEASURED = "yes", "no", "not measured"


def said(reached: str, **values: Any) -> dict:
    """A row that compares nothing: what is said of the case stands in the column of what it is against."""
    return {"against": ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in values.items()), "reached": reached}


def _judged(wrong: Any, **values: Any) -> dict:
    return said(NOT_REACHED if wrong else REACHED, **values)


TOLERANCES = {"float32": 1e-5, "TF32": 2e-3, "float16": 4e-3, "bfloat16": 3e-2, "float64": 1e-6}
"""Error allowed, as a share of the sum of magnitudes."""


def correctness(sizes: Sizes) -> list[Case]:
    """Random convolutions, and both gradients, against a loop in float64: as they are, by XLA, and on the CPU."""
    # A compilation takes a second.
    counts = {"": sizes.cases, ", XLA": max(sizes.cases // 12, 2), ", any device": sizes.cases // 4}
    return [
        Case(f"{dtype} on {kind}{how}", partial(_errors, dtype, kind, how, count))
        for kind, dtype, (how, count) in itertools.product(sizes.kinds, TOLERANCES, counts.items())
    ]


def _errors(dtype: str, kind: str, how: str, count: int) -> dict:
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(dtype == "TF32")
    errors = [_error(seed, "float32" if dtype == "TF32" else dtype, f"{kind}:0", how) for seed in range(count)]
    wrong = sum(not error <= TOLERANCES[dtype] for error in errors)
    return _judged(wrong, of=count, wrong_ones=wrong, largest_error=f"{max(errors):.1e}")


def _error(seed: int, dtype: str, device: str, how: str) -> float:
    """The largest error of a random convolution's three products, as a share of the sums of magnitudes."""
    import numpy as np
    import oracles
    import tensorflow as tf

    from tfsep import ops

    rng = np.random.default_rng(seed)
    strides, rate = (tuple(int(v) for v in rng.integers(1, 4, 2)) for _ in range(2))
    padding, depthwise = str(rng.choice(["same", "valid"])), bool(rng.integers(2))
    groups, channels = (int(rng.integers(1, 5)), int(rng.integers(1, 4)))
    per_group, filters = (1 if depthwise else channels), (groups if depthwise else 1) * int(rng.integers(1, 4))
    if not depthwise:
        filters *= groups
    x = rng.normal(size=(2, int(rng.integers(9, 14)), int(rng.integers(9, 40)), per_group * groups))
    w = rng.normal(size=(3, int(rng.integers(1, 4)), per_group, filters))
    shape = (*w.shape[:2], groups, filters // groups) if depthwise else w.shape
    x, w = (tf.cast(value, dtype) for value in (x, w))
    op = ops.depthwise_conv2d if depthwise else ops.conv2d

    def products(x: Any, w: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = op(x, tf.reshape(w, shape), strides, padding, rate)
        return y, *tape.gradient(y, [x, w], tf.ones_like(y))

    if how:
        products = tf.function(products, jit_compile=how == ", XLA", autograph=False)
    if how == ", any device":
        products.get_concrete_function(x, w)  # traced before its device is known
    with tf.device(device):
        values = [np.asarray(tf.cast(value, "float64")) for value in products(x, w)]
    given = [np.asarray(tf.cast(value, "float64")) for value in (x, w)]
    ones = np.ones(values[0].shape)
    exact = oracles.products(*given, ones, strides, padding, rate)
    magnitudes = oracles.products(*(np.abs(value) for value in given), ones, strides, padding, rate)
    return max(
        float(np.max(np.abs(value - right) / np.maximum(size, 1e-3), initial=0.0))
        for value, right, size in zip(values, exact, magnitudes, strict=True)
    )


def probe(sizes: Sizes) -> list[Case]:
    """How long the probe of the kernels takes that a process asks for, and what it believes, without and with XLA."""
    return [
        Case(f"{dtype} on {kind}{', XLA' * compiled}", partial(_believed, dtype, kind, compiled, sizes.judged))
        for kind in sizes.kinds
        for compiled in (False, True)
        for dtype in ("float32", "float16", "bfloat16", "float64")
    ]


def _believed(dtype: str, kind: str, compiled: bool, judged: bool) -> dict:
    from tfsep.ops import _kernel_probe as probed
    from tfsep.ops._tf_kernels import DEPTHWISE_KERNELS, STANDARD_KERNELS

    _load_libraries(kind, compiled)
    begin, answers = time.perf_counter(), []
    for kernels in (DEPTHWISE_KERNELS, STANDARD_KERNELS):
        for steps in ((1, 1), (2, 1)) if compiled else ((1, 1), (2, 1), (1, 2), (2, 2)):
            case = (dtype, *((step, step) for step in steps), 1, 3 if kernels is STANDARD_KERNELS else 1)
            products = ("forward", "input_gradient", "filter_gradient")
            believed = [probed.computes_correctly(p, kernels, *case, kind, compiled) for p in products]
            answers.append(f"{kernels.name} {steps} {''.join('ny'[value] for value in believed)}")
    seconds = time.perf_counter() - begin
    return _judged(judged and seconds > 2, seconds=f"{seconds:.1f}", believed="; ".join(answers))


@cache
def _load_libraries(kind: str, compiled: bool) -> None:
    """Have the device's libraries loaded, cuDNN for one, which a process waits for once, whatever it computes."""
    import tensorflow as tf

    def products(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.nn.conv2d(x, tf.ones((3, 3, 8, 8)), 1, "SAME")
        return tape.gradient(y, x)

    with tf.device(f"{kind}:0"):
        tf.function(products, jit_compile=compiled, autograph=False)(tf.ones((2, 16, 16, 8)))


def prepared(sizes: Sizes) -> list[Case]:
    """Inference of a quantization-aware network against the CPU's without XLA.

    All elements are equal; by XLA one in 100,000 may be a step away.
    """
    reference = cache(partial(_reference, 16 * sizes.cases))
    return [
        Case(f"{kind}{', XLA' * jit}", partial(_differences, reference, f"{kind}:0", jit))
        for kind in sizes.kinds
        for jit in (False, True)
    ]


def _reference(images: int) -> tuple[Any, list[Any], Any]:
    """Images, the weights of a network prepared on the CPU, and what it makes of the images there."""
    import numpy as np
    import tensorflow as tf

    x = np.random.default_rng(0).normal(size=(images, 32, 32, 3)).astype("float32")
    with tf.device("CPU:0"):
        model = _prepared_network(x)
        return x, model.get_weights(), tf.function(model, autograph=False)(x).numpy()


def _differences(reference: Callable[[], tuple[Any, list[Any], Any]], device: str, jit: bool) -> dict:
    import numpy as np
    import tensorflow as tf

    x, weights, expected = reference()
    step = np.diff(np.unique(expected)).min()
    with tf.device(device):  # XLA takes variables of its own device only
        model = _prepared_network(x)
        model.set_weights(weights)
        found = tf.function(model, jit_compile=jit, autograph=False)(x).numpy()
    differing, far = int(np.sum(found != expected)), int(np.sum(~(np.abs(found - expected) < 1.5 * step)))
    wrong = far or differing > jit * expected.size / 1e5
    return _judged(wrong, of=expected.size, differing=differing, by_over_a_step=far)


def _prepared_network(x: Any) -> Any:
    import keras

    from tfsep import layers, quantize

    keras.utils.set_random_seed(0)
    parts = [
        *(layers.Conv2D(32, 3, 2, "same"), keras.layers.BatchNormalization(), keras.layers.ReLU(6)),
        layers.DepthwiseConv2D(3, padding="same", rate=2, activation="relu"),
        layers.SeparableConv2D(48, 3, 2, "same", activation="hard_silu"),
        *(keras.layers.AveragePooling2D(2), layers.Conv2D(64, 1, activation="sigmoid")),
    ]
    return quantize.observe(quantize.prepare(keras.Sequential([keras.Input(x.shape[1:]), *parts])), x[:16])


def runs(sizes: Sizes) -> list[Case]:
    """Runs of `tfsep train`: a batch too large for the memory is halved, and a resumed run is the same to the bit."""
    return [
        # First, since the memory of a process is limited before it uses the device.
        Case("batch_size=auto in little memory", partial(_fitting_batch, sizes)),
        *(Case(f"resumed, XLA {xla}", partial(_resumed, xla)) for xla in ("off", "on")),
    ]


_MEMORY = 1024
"""MiB of a GPU: two copies of 128 images of 1024² in float32 do not fit."""


def _fitting_batch(sizes: Sizes) -> dict:
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        limit = tf.config.LogicalDeviceConfiguration(memory_limit=_MEMORY)
        tf.config.set_logical_device_configuration(gpu, [limit])
    limited = "GPU" in sizes.kinds and sizes.judged
    with tempfile.TemporaryDirectory() as folder:
        _train(Path(folder), 128, 1024 if limited else 28, epochs=1, batch_size="auto")
        computation = json.loads(Path(folder, "computation.json").read_text())
    size = computation["batch_size"]
    return _judged(limited and size == 128, batch_size=size, because=computation["reasons"]["batch_size"])


def _resumed(xla: str) -> dict:
    import numpy as np

    from tfsep._utils.messages import messages_to

    with tempfile.TemporaryDirectory() as folder:
        whole, cut = Path(folder, "whole"), Path(folder, "cut")

        def copy_after_an_epoch(line: str) -> None:
            if line.startswith("epoch 1/"):
                shutil.copytree(whole, cut)

        with messages_to(copy_after_an_epoch):
            expected = _train(whole, 128, 28, epochs=2, batch_size=16, xla=xla)
        found = _train(cut, 128, 28, resume=True, epochs=2, batch_size=16, xla=xla)
    differing = sum(int(np.sum(a != b)) for a, b in zip(found, expected, strict=True))
    return _judged(differing, of=sum(each.size for each in expected), differing=differing)


def _train(folder: Path, count: int, side: int, resume: bool = False, **settings: Any) -> list[Any]:
    """The weights of a small network after a run in a folder."""
    from stripes import NETWORK, stripes

    from tfsep.data import ImageData
    from tfsep.train import TrainConfig, train

    data = ImageData("stripes", ("above", "below"), stripes(count, 0, side), stripes(8, 1, side))
    config = TrainConfig(network=NETWORK, warmup_epochs=0, validation=0, **settings)
    weights: list[Any] = train(config, data, folder, resume=resume).model.get_weights()
    return weights
