"""What is timed against what: cases as records, and the contestants that each is made of.

Nothing heavy is imported here: a maker imports its library when a worker calls it, so the runner stays light.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import random_shapes
from layer_contest import LAYERS, compiled_layer
from torch_contest import torch_depthwise, torch_training_step

Run = Callable[[], Any]
Make = Callable[[], Run]


class Case(NamedTuple):
    """One comparison: peer time / our time, to be at least `goal`.

    `peer_library` is "tf", "torch" or "torchvision". `onednn` False runs both without oneDNN. `also` holds what else is
    compared, by the name of its group: the question that a worker answers. Where both sides call the same kernel, several
    `processes` a side tell more than one: where its memory happens to lie makes one of them slower for good. Of `sampled`
    cases, drawn by chance, the table has the median and the worst of each group, after fewer rounds.
    """

    group: str
    name: str
    peer_name: str
    ours: Make
    peer: Make
    goal: float
    peer_library: str = "tf"
    onednn: bool = True
    seconds: float = 0.3
    processes: int = 1
    also: Mapping[str, str] = MappingProxyType({})
    sampled: bool = False


class Shape(NamedTuple):
    """A depthwise convolution."""

    side: int
    channels: int
    stride: int = 1
    rate: int = 1
    kernel: int = 3
    images: int = 16
    multiplier: int = 1

    def __str__(self) -> str:
        extra = "".join(
            [
                f", kernel {self.kernel}" * (self.kernel != 3),
                f", batch {self.images}" * (self.images != 16),
                f", multiplier {self.multiplier}" * (self.multiplier != 1),
            ]
        )
        return f"{self.side}²×{self.channels}, stride {self.stride}, rate {self.rate}{extra}"


MOBILENET = [
    Shape(112, 32), Shape(112, 64, 2), Shape(56, 128), Shape(56, 128, 2), Shape(28, 256), Shape(28, 256, 2),
    Shape(14, 512), Shape(14, 512, 2), Shape(7, 1024),
]  # fmt: skip
OTHERS = [Shape(33, 200, images=4), Shape(65, 24, 2, kernel=5, images=3), Shape(40, 48, multiplier=2, images=8)]
RATES = [Shape(28, 512, 1, 2), Shape(28, 512, 1, 4), Shape(14, 512, 1, 2), Shape(56, 128, 1, 2)]
OTHER_RATES = [Shape(33, 200, 1, 3, images=4), Shape(45, 96, 1, 2, kernel=5, images=2)]
STRIDED = [Shape(56, 128, 2, 2), Shape(28, 256, 2, 2)]
OTHER_STRIDED = [Shape(57, 96, 3, 2, images=4), Shape(40, 48, 2, 3, images=8)]


def _tensors(shape: Shape, dtype: str) -> tuple[Any, ...]:
    import tensorflow as tf

    sizes = (shape.images, shape.side, shape.side), (shape.kernel, shape.kernel)
    given = ((*sizes[0], shape.channels), (0, 1)), ((*sizes[1], shape.channels, shape.multiplier), (0, 2))
    return tuple(tf.cast(tf.random.stateless_normal(size, seed), dtype) for size, seed in given)


def _traced(op: Callable[..., Any], given: Sequence[Any], gradients: bool, jit: bool = False) -> Run:
    import tensorflow as tf

    def both(*given: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(given)
            y = op(*given)
        return y, tape.gradient(y, given, tf.ones_like(y))

    def forward(*given: Any) -> Any:
        return op(*given)

    # A function of tensors, not a partial: a call binds a partial's options each time, for a tenth of a millisecond.
    run = tf.function(both if gradients else forward, jit_compile=jit, autograph=False)
    return lambda: run(*given)


def ours(shape: Shape, gradients: bool = False, jit: bool = False, dtype: str = "float32") -> Run:
    from tfsep import ops

    op = partial(ops.depthwise_conv2d, strides=shape.stride, padding="same", rate=shape.rate)
    return _traced(op, _tensors(shape, dtype), gradients, jit)


def tf_nn(shape: Shape, gradients: bool = False, jit: bool = False, dtype: str = "float32") -> Run:
    import tensorflow as tf

    strides, rate = [1, shape.stride, shape.stride, 1], [shape.rate] * 2
    op = partial(tf.nn.depthwise_conv2d, strides=strides, padding="SAME", dilations=rate)
    return _traced(op, _tensors(shape, dtype), gradients, jit)


def keras_ops(shape: Shape, gradients: bool = False, jit: bool = False, dtype: str = "float32") -> Run:
    import keras

    op = partial(keras.ops.depthwise_conv, strides=shape.stride, padding="same", dilation_rate=shape.rate)
    return _traced(op, _tensors(shape, dtype), gradients, jit)


class Deformable(NamedTuple):
    """A deformable convolution, 3×3, of as many filters as channels."""

    side: int
    channels: int
    images: int = 8
    offset_groups: int = 1
    modulated: bool = False

    def __str__(self) -> str:
        extra = f", {self.offset_groups} offset groups" * (self.offset_groups != 1) + ", mask" * self.modulated
        return f"{self.side}²×{self.channels}, batch {self.images}{extra}"


DEFORMABLE = [Deformable(28, 64), Deformable(28, 64, modulated=True), Deformable(56, 128, modulated=True),
              Deformable(14, 256, offset_groups=4, modulated=True), Deformable(28, 64, images=1)]  # fmt: skip


def deformable(shape: Deformable, gradients: bool = False) -> Run:
    import tensorflow as tf

    from tfsep import ops

    n, side, channels, taps = shape.images, shape.side, shape.channels, 9 * shape.offset_groups
    sizes = [(n, side, side, channels), (n, side, side, 2 * taps), (3, 3, channels, channels), (n, side, side, taps)]
    given = [tf.random.stateless_normal(s, (0, i)) for i, s in enumerate(sizes)][: 4 if shape.modulated else 3]
    return _traced(partial(ops.deform_conv2d, padding=1), given, gradients)


def torchvision_deformable(shape: Deformable, gradients: bool = False) -> Run:
    import torch
    from torchvision.ops import deform_conv2d

    n, side, channels, taps = shape.images, shape.side, shape.channels, 9 * shape.offset_groups
    sizes = [(n, channels, side, side), (n, 2 * taps, side, side), (channels, channels, 3, 3), (n, taps, side, side)]
    given = [torch.randn(s, requires_grad=gradients) for s in sizes[: 4 if shape.modulated else 3]]

    def run() -> None:
        y = deform_conv2d(*given[:3], padding=1, mask=given[3] if shape.modulated else None)
        if gradients:
            torch.autograd.grad(y, given, torch.ones_like(y))

    return run


def grouped(groups: int, split: bool) -> Run:
    import tensorflow as tf

    from tfsep import ops

    x = tf.random.stateless_normal((16, 28, 28, 128), (0, 1))
    w = tf.random.stateless_normal((3, 3, 128 // groups, 128), (0, 2))

    def by_split(x: Any, w: Any) -> Any:
        pairs = zip(tf.split(x, groups, 3), tf.split(w, groups, 3), strict=True)
        return tf.concat([tf.nn.conv2d(*pair, 1, "SAME") for pair in pairs], 3)

    return _traced(by_split if split else partial(ops.conv2d, padding="same"), (x, w), True)


def training_step(
    make: Callable[..., Any], policy: str = "float32", side: int = 128, images: int = 32, jit: bool | str = "auto"
) -> Run:
    """A step of SGD, as `fit` does it; Keras has XLA compile it where that is "auto" and there is a GPU."""
    import keras
    import tensorflow as tf

    keras.config.set_dtype_policy(policy)
    model = make(side)
    keras.config.set_dtype_policy("float32")
    model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy", jit_compile=jit)
    model.make_train_function()
    batch = tf.random.stateless_uniform((images, side, side, 3), (0, 1)), tf.range(images)
    batches = iter(tf.data.Dataset.from_tensors(batch).repeat())
    return lambda: tf.nest.map_structure(lambda value: value.numpy(), model.train_function(batches))


def trainer_step(
    policy: str = "float32", side: int = 128, images: int = 32, xla: bool = False, augmentation: str | None = None
) -> Run:
    """A step of `tfsep train`, by SGD; it counts what is not finite, and scales the loss in float16.

    With `augmentation`, it takes images from the input pipeline, augmented on the ``"host"`` or the ``"device"``.
    """
    import numpy as np
    import tensorflow as tf

    from tfsep._keras.dtype_policy import dtype_policy
    from tfsep.data import Split
    from tfsep.train import FitConfig
    from tfsep.train._batches import BatchPreparation, epoch_batches
    from tfsep.train._model_setup import build_optimizer
    from tfsep.train._trainer import Trainer

    with dtype_policy(policy):
        model = our_model(side)
    config = FitConfig(batch_size=images, optimizer="sgd", weight_decay=0.0, average=0.0)
    pixels = np.random.default_rng(0).integers(0, 256, (2 * images, side, side, 3), np.uint8)
    split = Split.of(pixels, np.arange(2 * images) % 1000)
    within = BatchPreparation(config, split.preprocessing, 1000) if augmentation == "device" else None
    trainer = Trainer(model, build_optimizer(config, 1000, policy), config, xla=xla, preparation=within)
    if augmentation is None:
        x = tf.random.stateless_uniform((images, side, side, 3), (0, 1))
        return partial(trainer.step, (x, tf.one_hot(tf.range(images), 1000)))
    batches = iter(
        epoch_batches(
            split, config, BatchPreparation(config, split.preprocessing, 1000), 0, prepared=within is None
        ).repeat()
    )
    return lambda: trainer.step(next(batches))


def our_model(side: int = 128) -> Any:
    from tfsep.models import MobileNetV1, mobilenet_v1_arg_scope

    # No weight decay: the peers have none.
    return MobileNetV1((side, side, 3), 1000, arg_scope=mobilenet_v1_arg_scope(weight_decay=0.0))


def quantized_model(side: int = 128) -> Any:
    from tfsep import quantize

    return quantize.prepare(our_model(side))


def keras_model(side: int = 128) -> Any:
    import keras

    return keras.applications.MobileNet((side, side, 3), weights=None)


def inference(
    make: Callable[..., Any],
    fold: bool,
    images_known: bool = True,
    side: int = 128,
    images: int = 32,
    jit: bool = False,
) -> Run:
    """A graph that knows how many images there are, or one that takes any number, as `predict` traces it."""
    import tensorflow as tf

    model = make(side)
    if fold:
        from tfsep import surgery

        model = surgery.fold_batch_norm(model)
    x = tf.random.stateless_uniform((images, side, side, 3), (0, 1))
    spec = tf.TensorSpec((images if images_known else None, side, side, 3))
    run = tf.function(lambda x: model(x, training=False), input_signature=[spec], jit_compile=jit, autograph=False)
    return lambda: run(x)


def _interpreted(path: str) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path, num_threads=1)
    interpreter.allocate_tensors()
    run = partial(interpreter.invoke)
    run.bytes = Path(path).stat().st_size
    return run


def strided_and_dilated(library: str) -> Run:
    """One layer, 64×64×128, stride 2 with rate 2, as a file: exported by us, or by Keras."""
    import keras

    import tfsep

    layer = (tfsep.layers if library == "tfsep" else keras.layers).DepthwiseConv2D(3, 2, "same", dilation_rate=2)
    model = keras.Sequential([keras.Input((64, 64, 128), batch_size=1), layer])
    return _interpreted(_exported(model, library, "float32"))


def mobilenet_file(library: str, recipe: str) -> Run:
    """MobileNet v1 at 224 as a file: ours by our exporter, Keras's by Keras or, in int8, by the plain converter."""
    import keras

    if library == "tfsep":
        from tfsep.models import MobileNetV1

        return _interpreted(_exported(MobileNetV1(), library, recipe))
    return _interpreted(_exported(keras.applications.MobileNet(weights=None), library, recipe))


def _exported(model: Any, library: str, recipe: str) -> str:
    import numpy as np
    import tensorflow as tf

    path = str(Path(tempfile.mkdtemp()) / f"{library}.tflite")
    images = np.random.default_rng(0).uniform(-1, 1, (40, *model.input_shape[1:])).astype("float32")
    if library == "tfsep":
        from tfsep.tflite import export

        export(model, path, recipe, calibration=None if recipe == "float32" else images)
    elif recipe == "float32":
        model.export(path, format="litert", verbose=False)
    else:
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None]] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        Path(path).write_bytes(converter.convert())
    return path


def _depthwise(group: str, goal: float, peer: str, shapes: list[Shape], **options: Any) -> list[Case]:
    peers = {"tf.nn": tf_nn, "Keras": keras_ops}
    return [
        Case(group, str(s), peer, partial(ours, s, **options), partial(peers[peer], s, **options), goal) for s in shapes
    ]


CASES = [
    *(case._replace(processes=4) for case in _depthwise("forward, rate 1", 1.0, "tf.nn", MOBILENET + OTHERS)),
    *_depthwise("forward, rate over 1", 3.0, "tf.nn", RATES + OTHER_RATES),
    *_depthwise("forward, stride with rate", 5.0, "Keras", STRIDED + OTHER_STRIDED),
    *_depthwise("gradients, rate over 1", 1.3, "tf.nn", RATES + OTHER_RATES, gradients=True),
    *_depthwise("gradients, stride with rate", 2.0, "Keras", STRIDED + OTHER_STRIDED, gradients=True),
    *(
        Case("gradients", str(s), "PyTorch", partial(ours, s, gradients=True), partial(torch_depthwise, s), 1.0, "torch")
        for s in MOBILENET + OTHERS[:1] + RATES + OTHER_RATES + STRIDED
    ),
    *(
        Case(f"deformable, {what}", str(s), "torchvision", partial(deformable, s, gradients),
             partial(torchvision_deformable, s, gradients), 3.0, "torchvision")
        for what, gradients in (("forward", False), ("gradients", True)) for s in DEFORMABLE
    ),
    *(
        case._replace(sampled=True)
        for seed, (group, goal, peer, strides, rates, options) in enumerate((
            ("forward, rate 1", 1.0, "tf.nn", (1, 2), (1,), {}),
            ("forward, rate over 1", 3.0, "tf.nn", (1,), (2, 3, 4), {}),
            ("forward, stride with rate", 5.0, "Keras", (2, 3), (2, 3), {}),
            ("gradients, rate over 1", 1.3, "tf.nn", (1,), (2, 3, 4), {"gradients": True}),
            ("gradients, stride with rate", 2.0, "Keras", (2, 3), (2, 3), {"gradients": True}),
        ))
        for case in _depthwise(
            group, goal, peer, [Shape(**fields) for fields in random_shapes.drawn(seed, strides, rates)], **options
        )
    ),
    *_depthwise("forward, XLA", 20.0, "tf.nn", [Shape(112, 32), Shape(28, 256, images=4), Shape(14, 512, 1, 2)], jit=True),
    *(
        Case(f"xla, {what}", str(s), "Keras", partial(compiled_layer, "tfsep", s, gradients),
             partial(compiled_layer, "keras", s, gradients), 1.0, processes=2)
        for what, gradients in (("forward", False), ("gradients", True)) for s in LAYERS
    ),
    *(
        Case("groups, gradients, no oneDNN", f"{n} groups", "split", partial(grouped, n, False), partial(grouped, n, True), 1.0, onednn=False, processes=4)
        for n in (4, 8, 32)
    ),
    *(
        Case(f"training step, {name}", "MobileNet v1, 128², batch 32", peer, partial(training_step, our_model, policy),
             other, goal, library, seconds=1.5, also=also)
        for name, policy, peer, other, goal, library, also in (
            ("float32", "float32", "Keras", partial(training_step, keras_model), 1.5, "tf", {"peak memory, MB": "memory"}),
            ("float32", "float32", "PyTorch", torch_training_step, 1.2, "torch", {}),
            ("bfloat16", "mixed_bfloat16", "Keras, bfloat16", partial(training_step, keras_model, "mixed_bfloat16"), 2.2, "tf", {}),
            ("bfloat16", "mixed_bfloat16", "Keras, float32", partial(training_step, keras_model), 1.8, "tf", {}),
        )
    ),
    *(
        Case("inference", f"MobileNet v1, 128², batch {batch}, folded", "Keras", partial(inference, our_model, True, known),
             partial(inference, keras_model, False, known), 1.25, seconds=1.0)
        for batch, known in (("32", True), ("unknown", False))
    ),
    Case("file", "stride 2 with rate 2, 64²×128", "Keras", partial(strided_and_dilated, "tfsep"),
         partial(strided_and_dilated, "keras"), 8.0, also={"file size, KiB": "size"}),
    *(
        Case("file", f"MobileNet v1, 224², {recipe}", "Keras" if recipe == "float32" else "converter",
             partial(mobilenet_file, "tfsep", recipe), partial(mobilenet_file, "keras", recipe), 1.0,
             also={"file size, KiB": "size"})
        for recipe in ("float32", "int8")
    ),
]  # fmt: skip
