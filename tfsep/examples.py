"""Worked examples of convolutions and their cost, computed step by step.

Every number is the result of an op, a layer or a ``.tflite`` file.

Examples:
    >>> worked_example()[-1].value.tolist()
    [[72.0, 90.0], [72.0, 90.0]]
"""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfsep import layers, ops, tflite
from tfsep._keras.backend import keras
from tfsep._keras.types import Layer, Model
from tfsep._utils.table import Table
from tfsep.cost import CostReport, cost
from tfsep.defs import Conv, DepthSepConv

if TYPE_CHECKING:
    from matplotlib.axes import Axes

IMAGE = np.stack([np.tile([1.0, 2.0, 3.0, 4.0], (4, 1)), np.ones((4, 4))], axis=-1)[None].astype("float32")
"""(1, 4, 4, 2): rows of 1, 2, 3, 4 in channel 0, and ones in channel 1."""

FILTER = np.broadcast_to(np.array([[0.0, 2.0], [1.0, 3.0]], "float32"), (3, 3, 2, 2)).copy()
"""(3, 3, 2, 2), constant over the window: 0 and 1 on the two channels for the first multiplier, then 2 and 3."""

ONES = np.ones((1, 1, 4, 1), "float32")
"""(1, 1, 4, 1): the 1×1 convolution that sums the four depthwise channels."""


class Step(NamedTuple):
    """One step of an example.

    Attributes:
        title: the operation.
        shape: shape of its result.
        value: one channel of the result, (H, W).
    """

    title: str
    shape: tuple[int, ...]
    value: np.ndarray


def worked_example() -> list[Step]:
    """Compute the standard, depthwise and separable convolution of a 4×4 image of two channels, the last in four ways.

    Returns:
        The steps in order; the last four have the values 72 and 90, by ops, by a layer, and by a ``.tflite`` file.

    Examples:
        >>> print(worked_example()[-1].value[0])
        [72. 90.]
    """
    standard = ops.conv2d(IMAGE, FILTER).numpy()
    depthwise = ops.depthwise_conv2d(IMAGE, FILTER).numpy()
    separable = {
        "depthwise_conv2d, then a 1×1 conv2d of ones": ops.conv2d(depthwise, ONES).numpy(),
        "separable_conv2d, the op": ops.separable_conv2d(IMAGE, FILTER, ONES).numpy(),
    }
    model = _separable_model()
    separable["SeparableConv2D, the layer"] = np.asarray(model(IMAGE))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "separable.tflite"
        tflite.export(model, path, data=IMAGE)
        separable["SeparableConv2D, from its .tflite file"] = np.asarray(tflite.predict(path, IMAGE))
    return [
        *(_step(f"image, channel {c}", IMAGE, c) for c in range(2)),
        *(_step(f"conv2d, output channel {c}", standard, c) for c in range(2)),
        *(_step(f"depthwise_conv2d, channel {c // 2}, multiplier {c % 2}", depthwise, c) for c in range(4)),
        *(_step(title, value, 0) for title, value in separable.items()),
    ]


def _step(title: str, batch: np.ndarray, channel: int) -> Step:
    return Step(title, batch.shape, batch[0, :, :, channel])


def _separable_model() -> Model:
    inputs = keras.Input(IMAGE.shape[1:])
    layer = layers.SeparableConv2D(1, 3, data_format="channels_last", depth_multiplier=2, use_bias=False)
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([FILTER, ONES])
    return model


def parameter_examples() -> dict[str, CostReport]:
    """Count the cost of a standard, a grouped and a separable convolution.

    Returns:
        Reports by title: 3 → 256 channels without bias (6,912 weights against 795), and 16 → 32 channels on 64×64 with
        bias (1,184 in four groups, 160 + 544 = 704 separable).

    Examples:
        >>> [report.params for report in parameter_examples().values()]
        [6912, 795, 1184, 704]
    """
    last: dict[str, Any] = {"data_format": "channels_last"}
    unbiased = {"use_bias": False, **last}
    grouped = [layers.Conv2D(32, 3, padding="same", groups=4, name="grouped", **last)]
    separable = [
        layers.DepthwiseConv2D(3, padding="same", name="depthwise", **last),
        layers.Conv2D(32, 1, name="pointwise", **last),
    ]
    return {
        "3 → 256 channels, 3×3, full": _cost_of([layers.Conv2D(256, 3, name="full", **unbiased)], (64, 64, 3)),
        "3 → 256 channels, 3×3, separable": _cost_of(
            [layers.SeparableConv2D(256, 3, name="separable", **unbiased)], (64, 64, 3)
        ),
        "16 → 32 channels on 64×64, four groups": _cost_of(grouped, (64, 64, 16)),
        "16 → 32 channels on 64×64, depthwise separable": _cost_of(separable, (64, 64, 16)),
    }


def _cost_of(stack: list[Layer], input_shape: tuple[int, int, int]) -> CostReport:
    return cost(keras.Sequential([keras.Input(input_shape), *stack]))


def grouped_example() -> tuple[np.ndarray, int]:
    """Convolve four channels of ones into eight in two groups, 1×1, with the weights 1 to 16.

    Returns:
        The eight results, and the layer's number of parameters.

    Examples:
        >>> values, params = grouped_example()
        >>> values.astype(int).tolist(), params
        ([3, 7, 11, 15, 19, 23, 27, 31], 16)
    """
    layer = layers.Conv2D(8, 1, data_format="channels_last", groups=2, use_bias=False)
    layer.build((None, 1, 1, 4))
    weights = np.arange(1.0, 17.0, dtype="float32").reshape(8, 2)
    layer.set_weights([weights.T.reshape(1, 1, 2, 8)])
    return np.asarray(layer(np.ones((1, 1, 1, 4), "float32"))).ravel(), layer.count_params()


class Reduction(NamedTuple):
    """Cost of a separable layer relative to a standard one, at one width multiplier.

    Attributes:
        alpha: width multiplier of the layer's input and output.
        full: MACs of the standard layer.
        separable: MACs of the separable layer.
        ratio: `separable` over `full`, counted.
        formula: ``1/N + 1/K²`` with the scaled N; equal to `ratio`.
        of_full_width: `separable` over its value at α = 1, near α².
    """

    alpha: float
    full: int
    separable: int
    ratio: float
    formula: float
    of_full_width: float


def reduction(
    channels: int = 512,
    filters: int = 512,
    kernel: int = 3,
    size: int = 14,
    alphas: tuple[float, ...] = (1, 0.75, 0.5, 0.25),
) -> list[Reduction]:
    """Compare a standard layer with a separable one at several width multipliers.

    Args:
        channels: number of channels of the input.
        filters: output channels at width 1.
        kernel: rows and columns of the window.
        size: rows and columns of the image.
        alphas: width multipliers, applied to channels and filters.

    Source: A. G. Howard et al., "MobileNets" (arXiv 1704.04861), section 3.1, and 3.3 for the width multiplier.

    Examples:
        >>> [(r.alpha, round(r.ratio, 4), round(r.formula, 4), round(r.of_full_width, 3)) for r in reduction()][:2]
        [(1, 0.1131, 0.1131, 1.0), (0.75, 0.1137, 0.1137, 0.566)]
    """

    def macs(kind: type[Conv | DepthSepConv], alpha: float) -> int:
        shape = (size, size, int(channels * alpha))
        return cost([kind(kernel, 1, filters)], shape, alpha=alpha, min_depth=1).macs

    whole = macs(DepthSepConv, 1)
    rows = []
    for alpha in alphas:
        full, separable = macs(Conv, alpha), macs(DepthSepConv, alpha)
        formula = 1 / int(filters * alpha) + 1 / kernel**2
        rows.append(Reduction(alpha, full, separable, separable / full, formula, separable / whole))
    return rows


def step_table(steps: list[Step]) -> Table:
    """Return the steps of an example as a table.

    Args:
        steps: in order, a row each.

    Examples:
        >>> step_table([Step("a pixel", (1, 1, 1, 1), np.ones((1, 1)))]).rows
        [('a pixel', '(1, 1, 1, 1)', '[[1]]')]
    """
    return Table(("step", "shape", "value"), [(s.title, str(s.shape), compact(s.value)) for s in steps])


def blocks() -> list[str]:
    """Compute all examples, and return them as text.

    Examples:
        >>> "72" in blocks()[0]
        True
    """
    values, params = grouped_example()
    reductions = Table(
        ("width α", "full, MACs", "separable, MACs", "ratio", "1/N + 1/K²", "separable beside α = 1"),
        [
            (r.alpha, r.full, r.separable, f"{r.ratio:.4f}", f"{r.formula:.4f}", f"{r.of_full_width:.4f}")
            for r in reduction()
        ],
    )
    return [
        "A 4×4 image of two channels, a 3×3 filter with a depth multiplier of two, VALID, stride 1\n"
        + step_table(worked_example()).text(),
        *(f"{title}\n{report}" for title, report in parameter_examples().items()),
        f"Four channels of ones into eight, 1×1, two groups, weights 1 to 16: {compact(values)}, {params} parameters",
        "Separable beside full, 512 → 512 channels on 14×14, 3×3\n" + reductions.text(),
    ]


def compact(value: np.ndarray) -> str:
    """Return an array as text on one line, in the shortest form of its numbers.

    Args:
        value: tensor of any rank.

    Examples:
        >>> compact(np.array([[1.0, 2.5]]))
        '[[1, 2.5]]'
    """
    return np.array2string(value, separator=", ", formatter={"float_kind": "{:g}".format}).replace("\n", "")


def draw_grid(axes: "Axes", values: np.ndarray, title: str, rows: str = "row", columns: str = "column") -> None:
    """Draw a matrix on Matplotlib axes, a cell for each number, darker for larger numbers and blank for NaN.

    Args:
        axes: to draw on.
        values: (R, C).
        title: above the grid.
        rows: label of the vertical axis.
        columns: label of the horizontal axis.

    Raises:
        ValueError: for values that are no matrix, or are all NaN.

    Examples:
        >>> from matplotlib.figure import Figure
        >>> axes = Figure().subplots()
        >>> draw_grid(axes, np.array([[72.0, 90.0]]), "two pixels")
        >>> [text.get_text() for text in axes.texts]
        ['72', '90']
    """
    numbers = values[~np.isnan(values)]
    if values.ndim != 2 or not numbers.size:
        raise ValueError(f"values: expected (R, C) with a number in it, got {numbers.size} in shape {values.shape}")
    low, high = float(numbers.min()), float(numbers.max())
    shades = (values - low) / ((high - low) or 1.0)
    axes.pcolormesh(shades, cmap="Blues", vmin=-0.2, vmax=1.2, edgecolors="white", linewidth=2)
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            ink = "white" if shades[row, column] > 0.55 else "black"
            axes.text(column + 0.5, row + 0.5, f"{value:g}", color=ink, ha="center", va="center")
    axes.set(title=title, xlabel=columns, ylabel=rows, aspect="equal")
    axes.set_xticks(np.arange(values.shape[1]) + 0.5, [str(column) for column in range(values.shape[1])])
    axes.set_yticks(np.arange(values.shape[0]) + 0.5, [str(row) for row in range(values.shape[0])])
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
