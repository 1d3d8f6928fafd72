"""What `gpu` times, and the groups of all that it does, as records. Nothing heavy is imported before a case runs."""

import time
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

from contest import (
    RATES,
    STRIDED,
    Make,
    Shape,
    inference,
    keras_model,
    keras_ops,
    our_model,
    ours,
    quantized_model,
    tf_nn,
    trainer_step,
    training_step,
)
from gpu_checks import NOT_MEASURED, Case, Sizes, correctness, prepared, probe, runs, said
from layer_contest import LAYERS, compiled_layer
from run import summary, table_row
from torch_contest import torch_training_step

_DEPTHWISE = [Shape(112, 32), Shape(112, 64, 2), Shape(28, 256), Shape(14, 512), RATES[0], STRIDED[0]]


def sizes_of(quick: bool, gpu: bool) -> Sizes:
    """The sizes of a run, or those of a rehearsal."""
    kinds = ("GPU", "CPU") if gpu else ("CPU",)
    if quick:
        shape = Shape(8, 4, images=2)
        return Sizes(kinds, False, 0.01, 4, [shape, shape._replace(stride=2, rate=2)], [shape], slice(7, 8), 32, 2)
    shapes = [shape._replace(images=64) for shape in _DEPTHWISE]
    return Sizes(kinds, True, 0.3, 32, shapes, shapes[1:5], slice(None), 224, 128)


def against(
    name: str, peer_name: str, goal: float, mine: Make, peer: Make, sizes: Sizes, tensor_float_32: bool = True
) -> Case:
    """A case of two sides in one process."""
    return Case(name, partial(_compared, peer_name, sizes.goal(goal), mine, peer, sizes.seconds, tensor_float_32))


def _compared(
    peer_name: str, goal: float | None, mine: Make, peer: Make, seconds: float, tensor_float_32: bool
) -> dict:
    """Time two sides in turns of some twenty milliseconds, and wait for the device at the end of each."""
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(tensor_float_32)
    wait = tf.test.experimental.sync_devices
    sides, times = {"mine": mine(), "peer": peer()}, {"mine": [], "peer": []}
    calls = {}
    for side, run in sides.items():
        for _ in range(2):
            run()
        wait()
        begin = time.perf_counter()
        run()
        wait()
        calls[side] = max(1, min(50, round(0.02 / (time.perf_counter() - begin))))
    end, turn = time.perf_counter() + 2 * seconds, 0
    while time.perf_counter() < end or turn < 4:
        for side in sorted(sides, reverse=bool(turn % 2)):
            begin = time.perf_counter()
            for _ in range(calls[side]):
                sides[side]()
            wait()
            times[side].append((time.perf_counter() - begin) * 1e3 / calls[side])
        turn += 1
    figures = tuple(value for side in sides for value in summary(times[side]))
    return table_row("", "", peer_name, figures, goal)


PRECISIONS = (("float32", True), ("float16", True), ("bfloat16", True), ("float32", False))
"""Types of convolutions, and whether products of float32 are TensorFloat-32's, in the order of what they decide."""


def convolutions(jit: bool, sizes: Sizes) -> list[Case]:
    """Depthwise convolutions against `tf.nn`, which is wrong with stride and rate: Keras's then."""
    cases = []
    for dtype, tensor_float_32 in PRECISIONS:
        precision = dtype if tensor_float_32 else f"{dtype}, no TF32"
        for shape in sizes.compiled_shapes if jit else sizes.shapes:
            both = shape.stride > 1 and shape.rate > 1
            peer_name, peer, goal = ("Keras", keras_ops, 2.0) if both else ("tf.nn", tf_nn, 1.0)
            for gradients in (False, True):
                name = f"{precision}, {shape}, {'gradients' if gradients else 'forward'}"
                sides = (partial(make, shape, gradients, jit, dtype) for make in (ours, peer))
                cases.append(against(name, peer_name, goal, *sides, sizes, tensor_float_32))
    return cases


def layers(jit: bool, sizes: Sizes) -> list[Case]:
    """Single layers against Keras's, with gradients."""
    cases = []
    for shape in LAYERS[sizes.layers]:
        sides = (partial(compiled_layer, library, shape, True, jit) for library in ("tfsep", "keras"))
        cases.append(against(str(shape), "Keras", 1.0, *sides, sizes))
    return cases


BY_XLA = "tfsep train, XLA"
"""The case that PyTorch's steps are compared with."""


def steps(policy: str, sizes: Sizes) -> list[Case]:
    """MobileNet v1: the step of `tfsep train`, and that of `fit`, against `fit` with Keras's model and defaults."""
    step = partial(training_step, policy=policy, side=sizes.side, images=sizes.images)
    trained = partial(trainer_step, policy, sizes.side, sizes.images)
    keras_step, plain_step = cache(partial(step, keras_model)), partial(step, keras_model, jit=False)
    return [
        against(BY_XLA, "Keras's fit", 1.1, partial(trained, True), keras_step, sizes),
        against("fit", "Keras's fit", 1.1, partial(step, our_model), keras_step, sizes),
        against("tfsep train, no XLA", "Keras's fit, no XLA", 1.1, partial(trained, False), plain_step, sizes),
    ]


def augmentations(sizes: Sizes) -> list[Case]:
    """The compiled step with its input pipeline: what `augmentation=auto` chooses on a GPU, against the host."""
    sides = (partial(trainer_step, "float32", sizes.side, sizes.images, True, where) for where in ("device", "host"))
    return [against("within the step, XLA", "on the host", 1.0, *sides, sizes)]


def inferences(sizes: Sizes) -> list[Case]:
    """MobileNet v1 without its normalizations, against Keras's."""
    cases = []
    for jit in (False, True):
        make = partial(inference, side=sizes.side, images=sizes.images, jit=jit)
        sides = partial(make, our_model, True), partial(make, keras_model, False)
        cases.append(against(f"folded{', XLA' * jit}", "Keras", 1.0, *sides, sizes))
    return cases


def quantized(sizes: Sizes) -> list[Case]:
    """The quantization-aware step against the same network's in float32, both without XLA or with it."""
    cases = []
    for jit in (False, True):
        step = partial(training_step, side=sizes.side, images=sizes.images, jit=jit)
        sides = (partial(step, model) for model in (quantized_model, our_model))
        cases.append(against(f"fit{', XLA' * jit}", "ours in float32", 0.5, *sides, sizes))
    return cases


def torch_steps(sizes: Sizes) -> list[Case]:
    """PyTorch's step, eager and compiled; `beside_ours` puts that of `tfsep train` beside it."""
    policies = ("float32", "mixed_float16") if "GPU" in sizes.kinds else ("float32",)
    return [
        Case(f"{policy}, {how}", partial(_torch_step, policy, how, sizes))
        for how in ("eager", "compiled")
        for policy in policies
    ]


def _torch_step(policy: str, how: str, sizes: Sizes) -> dict:
    import torch

    device, half = "cuda" if "GPU" in sizes.kinds else "cpu", policy == "mixed_float16"
    run = torch_training_step(sizes.side, sizes.images, device, half, how == "compiled")
    for _ in range(5):
        run()
    times: list[float] = []
    while len(times) < 3 or sum(times) < 2e3 * sizes.seconds:
        begin = time.perf_counter()
        run()
        times.append((time.perf_counter() - begin) * 1e3)
    middle, spread = summary(times)
    return {**said(NOT_MEASURED, torch=torch.__version__), "peer": f"{middle:.3g}", "peer spread": spread}


def beside_ours(row: dict, rows: list[dict], judged: bool = True) -> dict:
    """A row of PyTorch's step with that of `tfsep train` by XLA beside it, once both are timed."""
    policy, _, how = row["case"].partition(", ")
    mine = [each for each in rows if each["ours"] and (each["group"], each["case"]) == (f"step, {policy}", BY_XLA)]
    if row["group"] != "torch" or not (row["peer"] and mine):
        return row
    figures = float(mine[0]["ours"]), mine[0]["spread"], float(row["peer"]), row["peer spread"]
    return table_row("torch", row["case"], row["against"], figures, 1.2 if judged and how == "eager" else None)


class Group(NamedTuple):
    """Cases in a process of their own, which may take so many seconds of a run, and the library that they need."""

    cases: Callable[[Sizes], list[Case]]
    limit: float
    library: str = "tensorflow"


GROUPS = {
    "correctness": Group(correctness, 100),
    "probe": Group(probe, 40),
    "prepared": Group(prepared, 50),
    "step, float32": Group(partial(steps, "float32"), 200),
    "step, mixed_float16": Group(partial(steps, "mixed_float16"), 220),
    "torch": Group(torch_steps, 70, "torch"),
    "convolutions": Group(partial(convolutions, False), 80),
    "layers, XLA": Group(partial(layers, True), 80),
    "runs": Group(runs, 60),
    # The first fifteen minutes end here.
    "convolutions, XLA": Group(partial(convolutions, True), 150),
    "layers": Group(partial(layers, False), 50),
    "inference": Group(inferences, 90),
    "quantization-aware step": Group(quantized, 240),
    "augmentation": Group(augmentations, 150),
    "step, mixed_bfloat16": Group(partial(steps, "mixed_bfloat16"), 220),
}
"""What there is, in the order of what it decides. A step of MobileNet v1 takes XLA about a minute to compile."""
