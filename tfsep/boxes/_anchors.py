"""Anchors as records: grids of boxes that a detector's outputs are relative to, and the rules that published ones obey.

A detector has one output for each anchor: grid by grid, in a grid row by row, at each position size by size.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from tfsep._utils.arguments import number_in_range, positive_int, positive_number
from tfsep.boxes._box_geometry import as_rows, to_corners
from tfsep.geometry import Pair, PairLike
from tfsep.geometry._sizes import pair


@dataclass(frozen=True)
class AnchorGrid:
    """The anchors of one map of features: boxes of the same sizes around the middle of each position.

    Attributes:
        rows: rows of the map.
        columns: columns of the map.
        sizes: height and width of each anchor of a position, as shares of the image's.

    Raises:
        ValueError: for a field out of range; the message starts with its name.

    Examples:
        >>> AnchorGrid(1, 2, ((0.5, 0.25),)).centers().tolist()
        [[0.5, 0.25, 0.5, 0.25], [0.5, 0.75, 0.5, 0.25]]
    """

    rows: int
    columns: int
    sizes: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        """Validate the fields and bring each to its type."""
        object.__setattr__(self, "rows", positive_int(self.rows, "rows"))
        object.__setattr__(self, "columns", positive_int(self.columns, "columns"))
        sizes = as_rows(self.sizes, "sizes", 2)
        if not len(sizes) or not (sizes > 0).all():
            raise ValueError(
                f"sizes: expected a height and a width greater than zero for each anchor, got {self.sizes!r}"
            )
        object.__setattr__(self, "sizes", tuple(map(tuple, sizes.tolist())))

    @property
    def count(self) -> int:
        """The number of anchors."""
        return self.rows * self.columns * len(self.sizes)

    def centers(self) -> np.ndarray:
        """Return row and column of the centre, height and width of each anchor, float64 (N, 4)."""
        row, column, number = np.indices((self.rows, self.columns, len(self.sizes))).reshape(3, -1)
        middles = np.stack([(row + 0.5) / self.rows, (column + 0.5) / self.columns], axis=1)
        return np.concatenate([middles, np.array(self.sizes)[number]], axis=1)


@dataclass(frozen=True)
class Anchors:
    """The anchors of a detector.

    Attributes:
        grids: one for each map of features, in the order of the outputs.

    Raises:
        ValueError: if there are none.

    Examples:
        >>> anchors = Anchors((AnchorGrid(2, 2, ((0.4, 0.4),)), AnchorGrid(1, 1, ((0.8, 0.8), (0.4, 1.0)))))
        >>> anchors.count, anchors.boxes()[-1].round(2).tolist()
        (6, [0.3, 0.0, 0.7, 1.0])
    """

    grids: tuple[AnchorGrid, ...]

    def __post_init__(self) -> None:
        """Validate the grids."""
        object.__setattr__(self, "grids", tuple(self.grids))
        if not self.grids or not all(isinstance(grid, AnchorGrid) for grid in self.grids):
            raise ValueError(f"grids: expected one AnchorGrid or more, got {self.grids!r}")

    @property
    def count(self) -> int:
        """The number of anchors."""
        return sum(grid.count for grid in self.grids)

    def centers(self) -> np.ndarray:
        """Return row and column of the centre, height and width of each anchor, read-only float64 (N, 4)."""
        return self._centers

    def boxes(self) -> np.ndarray:
        """Return top, left, bottom and right edge of each anchor, read-only float64 (N, 4)."""
        return self._boxes

    # Each scene that is matched in training asks for them.

    @cached_property
    def _centers(self) -> np.ndarray:
        return _read_only(np.concatenate([grid.centers() for grid in self.grids]))

    @cached_property
    def _boxes(self) -> np.ndarray:
        return _read_only(to_corners(self._centers))


def multibox_anchors(
    maps: Iterable[PairLike],
    min_scale: float = 0.2,
    max_scale: float = 0.95,
    ratios: Sequence[float] = (1.0, 2.0, 1 / 2, 3.0, 1 / 3),
    *,
    interpolated_ratio: float | None = 1.0,
    reduce_lowest: bool = True,
    image_size: PairLike = 1,
) -> Anchors:
    """Return the anchors of SSD, by the rule of TensorFlow's Object Detection API.

    The scales of the maps are spaced evenly. Each map has an anchor of its scale for each ratio, and one between its
    scale and the next map's.

    Args:
        maps: rows and columns of each map, ints or pairs.
        min_scale: scale of the first map, a share of the image's shorter side.
        max_scale: scale of the last map.
        ratios: width by height of the anchors of a position.
        interpolated_ratio: ratio of the anchor whose scale lies between two maps' (their geometric mean); None for no
            such anchor.
        reduce_lowest: whether the first map has but three anchors: a small square of 0.1, and ratios of 2 and ½.
        image_size: rows and columns of the image, or numbers in their ratio.

    Source: W. Liu et al., "SSD" (arXiv 1512.02325), section 2.2.

    Raises:
        ValueError: for an argument out of range.

    Examples:
        >>> multibox_anchors([19, 10, 5, 3, 2, 1]).count
        1917
    """
    rows, columns = pair(image_size, "image_size")
    unit = min(rows, columns) / rows, min(rows, columns) / columns
    sides = _maps(maps)
    sizes = _multibox_sizes(len(sides), min_scale, max_scale, ratios, interpolated_ratio or 0.0, reduce_lowest)
    return Anchors(
        tuple(
            AnchorGrid(*side, tuple((h * unit[0], w * unit[1]) for h, w in own))
            for side, own in zip(sides, sizes, strict=True)
        )
    )


def ssdlite_anchors(image_size: PairLike, stride: int = 16) -> Anchors:
    """Return anchors of `multibox_anchors` on maps of a stride, twice that, and so on, to a map of a single position.

    Args:
        image_size: rows and columns of the image.
        stride: stride of the first map.

    Raises:
        ValueError: for an argument out of range.

    Examples:
        >>> [(grid.rows, grid.columns) for grid in ssdlite_anchors((96, 64)).grids]
        [(6, 4), (3, 2), (2, 1), (1, 1)]
    """
    sides, step = pair(image_size, "image_size"), positive_int(stride, "stride")
    maps = [tuple(-(-side // step) for side in sides)]
    while max(maps[-1]) > 1:
        maps.append(tuple(-(-side // 2) for side in maps[-1]))
    return multibox_anchors(maps, image_size=sides)


def mediapipe_anchors(
    input_size: PairLike,
    strides: Sequence[int],
    min_scale: float = 0.2,
    max_scale: float = 0.95,
    ratios: Sequence[float] = (1.0,),
    *,
    interpolated_ratio: float = 1.0,
    reduce_lowest: bool = False,
    fixed_size: bool = False,
) -> Anchors:
    """Return the anchors of MediaPipe's ``SsdAnchorsCalculator``.

    Layers of the same stride that follow one another share their positions.

    Args:
        input_size: rows and columns of the network's input.
        strides: stride of each layer, at least one.
        min_scale: scale of the first layer, a share of the image.
        max_scale: scale of the last layer.
        ratios: width by height of the anchors of a layer.
        interpolated_ratio: ratio of the anchor whose scale lies between two layers'; 0 for no such anchor.
        reduce_lowest: whether the first layer has but a small square of 0.1, and ratios of 2 and ½.
        fixed_size: whether all anchors are of the size of the image, so that only their centres count.

    Source: ``mediapipe/calculators/tflite/ssd_anchors_calculator.cc``.

    Raises:
        ValueError: for an argument out of range.

    Examples:
        >>> mediapipe_anchors(128, (8, 16, 16, 16), 0.15, 0.75).count
        896
    """
    rows, columns = pair(input_size, "input_size")
    steps = [positive_int(stride, "strides") for stride in strides]
    if not steps:
        raise ValueError("strides: expected at least one, got none")
    sizes = _multibox_sizes(len(steps), min_scale, max_scale, ratios, interpolated_ratio, reduce_lowest)
    merged: list[tuple[int, list[tuple[float, float]]]] = []
    for stride, own in zip(steps, sizes, strict=True):
        if not merged or merged[-1][0] != stride:
            merged.append((stride, []))
        merged[-1][1].extend([(1.0, 1.0)] * len(own) if fixed_size else own)
    return Anchors(
        tuple(AnchorGrid(math.ceil(rows / step), math.ceil(columns / step), tuple(own)) for step, own in merged)
    )


def efficientdet_anchors(
    maps: Iterable[PairLike], scale: float = 4.0, octaves: int = 3, ratios: Sequence[float] = (1.0, 2.0, 1 / 2)
) -> Anchors:
    """Return the anchors of EfficientDet, which are those of RetinaNet: sizes in multiples of a map's stride.

    Args:
        maps: rows and columns of each map, ints or pairs.
        scale: size of the smallest anchor, in strides.
        octaves: number of sizes of a map; each is ``2 ** (1 / octaves)`` times the one before.
        ratios: width by height of the anchors of a size.

    Source: M. Tan et al., "EfficientDet" (arXiv 1911.09070); T.-Y. Lin et al., "Focal Loss" (arXiv 1708.02002).

    Raises:
        ValueError: for an argument out of range.

    Examples:
        >>> efficientdet_anchors([64, 32, 16, 8, 4]).count
        49104
    """
    scale, octaves = positive_number(scale, "scale"), positive_int(octaves, "octaves")
    shapes = [_shape(scale * 2 ** (i / octaves), ratio) for i in range(octaves) for ratio in _ratios(ratios)]
    sides = _maps(maps)
    return Anchors(tuple(AnchorGrid(r, c, tuple((h / r, w / c) for h, w in shapes)) for r, c in sides))


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _maps(maps: Iterable[PairLike]) -> list[Pair]:
    """Rows and columns of each map."""
    sides = [pair(each, "maps") for each in maps]
    if not sides:
        raise ValueError("maps: expected at least one, got none")
    return sides


def _ratios(ratios: Sequence[float]) -> list[float]:
    numbers = [positive_number(ratio, "ratios") for ratio in ratios]
    if not numbers:
        raise ValueError("ratios: expected at least one, got none")
    return numbers


def _shape(scale: float, ratio: float) -> tuple[float, float]:
    """Height and width of an anchor of the area ``scale ** 2``."""
    return scale / math.sqrt(ratio), scale * math.sqrt(ratio)


def _multibox_sizes(
    count: int,
    min_scale: float,
    max_scale: float,
    ratios: Sequence[float],
    interpolated_ratio: float,
    reduce_lowest: bool,
) -> list[list[tuple[float, float]]]:
    """Height and width of each anchor of each layer, as shares of a square image."""
    min_scale = number_in_range(min_scale, "min_scale", float, 0.001)
    max_scale = number_in_range(max_scale, "max_scale", float, min_scale)
    interpolated_ratio = number_in_range(interpolated_ratio, "interpolated_ratio", float, 0)
    shapes = _ratios(ratios)
    scales = [*np.linspace(min_scale, max_scale, count), 1.0] if count > 1 else [(min_scale + max_scale) / 2, 1.0]
    layers = []
    for number, (scale, following) in enumerate(pairwise(scales)):
        if number == 0 and reduce_lowest:
            layers.append([_shape(0.1, 1.0), _shape(scale, 2.0), _shape(scale, 0.5)])
            continue
        own = [_shape(scale, ratio) for ratio in shapes]
        between = [_shape(math.sqrt(scale * following), interpolated_ratio)] if interpolated_ratio else []
        layers.append(own + between)
    return layers
