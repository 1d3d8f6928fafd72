"""What `gpu` checks before it times anything: that convolutions are right, and how long the probe of kernels takes."""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from contest import Shape
from run import COLUMNS


class Sizes(NamedTuple):
    """How large everything is, and for how long a case is timed."""

    cases: int
    shapes: list[Shape]
    compiled_shapes: list[Shape]
    layers: slice
    side: int
    images: int
    seconds: float


def said(group: str, case: str, **values: Any) -> dict:
    """A row that compares nothing: what is said of the case stands in the column of what it is against."""
    row = dict.fromkeys(COLUMNS, "")
    wrong = values.pop("wrong", 0)
    text = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items())
    return {**row, "group": group, "case": case, "against": text, "reached": "no" if wrong else "yes"}


TOLERANCES = {"float64": 1e-6, "float32": 1e-5, "TF32": 2e-3, "float16": 4e-3, "bfloat16": 3e-2}
"""Error allowed, as a share of the sum of magnitudes."""


def correctness(sizes: Sizes) -> Iterator[dict]:
    """Random convolutions, and both gradients, against a loop in float64: as they are, by XLA, and on the CPU."""
    import tensorflow as tf

    for dtype, tolerance in TOLERANCES.items():
        tf.config.experimental.enable_tensor_float_32_execution(dtype == "TF32")
        name = "float32" if dtype == "TF32" else dtype
        for kind, device in _devices().items():
            # A compilation takes a second.
            for how, count in (
                ("", sizes.cases),
                (", XLA", max(sizes.cases // 12, 2)),
                (", any device", sizes.cases // 4),
            ):
                begin = time.perf_counter()
                errors = [_error(seed, name, device, how) for seed in range(count)]
                wrong = sum(not error <= tolerance for error in errors)
                yield said("correctness", f"{dtype} on {kind}{how}", of=count, wrong_ones=wrong,
                           largest_error=f"{max(errors):.1e}", seconds=f"{time.perf_counter() - begin:.1f}",
                           wrong=wrong)  # fmt: skip


def _devices() -> dict[str, str]:
    import tensorflow as tf

    return {"GPU": "GPU:0", "CPU": "CPU:0"} if tf.config.list_logical_devices("GPU") else {"CPU": "CPU:0"}


def prepared(sizes: Sizes) -> Iterator[dict]:
    """Inference of a quantization-aware network against the CPU's without XLA.

    All elements are equal; by XLA one in 100,000 may be a step away.
    """
    import numpy as np
    import tensorflow as tf

    x = np.random.default_rng(0).normal(size=(16 * sizes.cases, 32, 32, 3)).astype("float32")
    with tf.device("CPU:0"):
        reference = _prepared_network(x)
        expected = tf.function(reference, autograph=False)(x).numpy()
    step = np.diff(np.unique(expected)).min()
    for kind, device in _devices().items():
        for jit in (False, True):
            begin = time.perf_counter()
            with tf.device(device):  # XLA takes variables of its own device only
                model = _prepared_network(x)
                model.set_weights(reference.get_weights())
                found = tf.function(model, jit_compile=jit, autograph=False)(x).numpy()
            differing, far = int(np.sum(found != expected)), int(np.sum(~(np.abs(found - expected) < 1.5 * step)))
            yield said("prepared", f"{kind}{', XLA' * jit}", of=expected.size, differing=differing, by_over_a_step=far,
                       seconds=f"{time.perf_counter() - begin:.1f}",
                       wrong=far or differing > jit * expected.size / 1e5)  # fmt: skip


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


def probe(_: Sizes) -> Iterator[dict]:
    """How long the probe of the kernels takes that a process asks for, and what it believes, without and with XLA."""
    import tensorflow as tf

    from tfsep.ops import _kernel_probe as probed
    from tfsep.ops._devices import kinds_there
    from tfsep.ops._tf_kernels import DEPTHWISE_KERNELS, STANDARD_KERNELS

    products = ("forward", "input_gradient", "filter_gradient")
    tf.linalg.matmul(tf.ones((2, 2)), tf.ones((2, 2)))
    for kind in kinds_there():
        for compiled in (False, True):
            for dtype in ("float32", "float16", "bfloat16", "float64"):
                begin, answers = time.perf_counter(), {}
                for kernels in (DEPTHWISE_KERNELS, STANDARD_KERNELS):
                    for steps in ((1, 1), (2, 1)) if compiled else ((1, 1), (2, 1), (1, 2), (2, 2)):
                        case = (dtype, *((step, step) for step in steps), 1, 3 if kernels is STANDARD_KERNELS else 1)
                        believed = [probed.computes_correctly(p, kernels, *case, kind, compiled) for p in products]
                        answers[f"{kernels.name} {steps}"] = "".join("ny"[value] for value in believed)
                seconds = time.perf_counter() - begin
                text = "; ".join(f"{case} {believed}" for case, believed in answers.items())
                name = f"{dtype} on {kind}{', XLA' * compiled}"
                yield said("probe", name, believed=text, seconds=f"{seconds:.1f}", wrong=seconds > 2)
