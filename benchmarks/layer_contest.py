"""Single layers under XLA, ours and Keras's: forward, and with the gradients to the image and to the weights."""

from collections.abc import Callable
from typing import Any, NamedTuple


class LayerShape(NamedTuple):
    """A convolution layer on square images; a depthwise one has no `filters`."""

    layer: str
    side: int
    channels: int
    filters: int | None = None
    stride: int = 1
    rate: int = 1
    kernel: int = 3
    groups: int = 1

    def __str__(self) -> str:
        """Its name in tables."""
        filters = f"→{self.filters}" * (self.filters is not None)
        extra = f", kernel {self.kernel}" * (self.kernel != 3) + f", {self.groups} groups" * (self.groups != 1)
        return f"{self.layer} {self.side}²×{self.channels}{filters}, stride {self.stride}, rate {self.rate}{extra}"


IMAGES = 8
LAYERS = [
    *(LayerShape("Conv2D", 28, 64, 64, *steps) for steps in ((1, 1), (2, 1), (1, 2))),
    *(LayerShape("Conv2D", 28, 128, 128, stride, kernel=1) for stride in (1, 2)),
    LayerShape("Conv2D", 112, 3, 32, 2),
    LayerShape("Conv2D", 28, 64, 64, groups=4),
    *(LayerShape("DepthwiseConv2D", 28, 128, None, *steps) for steps in ((1, 1), (2, 1), (1, 2), (2, 2))),
    *(LayerShape("SeparableConv2D", 28, 64, 64, *steps) for steps in ((1, 1), (2, 1), (1, 2))),
    *(LayerShape("Conv2DTranspose", 14, 64, 64, *steps) for steps in ((1, 1), (2, 1), (1, 2))),
]


def compiled_layer(library: str, shape: LayerShape, gradients: bool, jit: bool = True) -> Callable[[], Any]:
    """A layer of "tfsep" or "keras" as a compiled function."""
    import keras
    import tensorflow as tf

    import tfsep

    maker = getattr(tfsep.layers if library == "tfsep" else keras.layers, shape.layer)
    filters = () if shape.filters is None else (shape.filters,)
    groups = {} if shape.groups == 1 else {"groups": shape.groups}
    options = {"strides": shape.stride, "padding": "same", "dilation_rate": shape.rate, "use_bias": False, **groups}
    layer = maker(*filters, shape.kernel, **options)
    x = tf.random.stateless_normal((IMAGES, shape.side, shape.side, shape.channels), (0, 1))
    layer(x)
    weights = [variable.value for variable in layer.trainable_variables]

    def both(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        return y, tape.gradient(y, [x, *weights], tf.ones_like(y))

    run = tf.function(both if gradients else layer, jit_compile=jit, autograph=False)
    return lambda: run(x)
