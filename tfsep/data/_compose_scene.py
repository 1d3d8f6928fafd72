"""Composition of a scene: garments on a canvas, with the boxes and the masks of what can be seen of them.

All arithmetic is in integers, so that a scene is the same on every machine.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image

_DARKEST = 10
"""Least grey level of a garment: below it is the noise around one."""

_SHADES = 3
"""Rows and columns of the grey levels between which a background is interpolated."""

_BRIGHTEST_SHADE, _NOISE = 160, 6
"""Largest grey level of a background, and the largest that noise adds to it or takes away."""

_TRIALS = 20
"""Places that are tried for a garment, before it is left out."""


class Scene(NamedTuple):
    """A picture of garments and what is in it.

    Attributes:
        image: grey levels, uint8 (H, W, 1).
        mask: class of each pixel, uint8 (H, W): 0 for the background, ``k + 1`` for class k.
        instances: garment of each pixel, uint8 (H, W): 0 for the background, ``i + 1`` for row i of `boxes`.
        boxes: the box around what can be seen of each garment, float32 (M, 4): top, left, bottom and right edge as
            shares of the image's height and width; zeros behind the last garment.
        classes: class of each garment, int32 (M,); -1 behind the last.
    """

    image: np.ndarray
    mask: np.ndarray
    instances: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray


class Composition(NamedTuple):
    """The rules of a scene.

    Attributes:
        size: rows and columns of the canvas.
        garments: fewest and most garments.
        sides: fewest and most rows and columns of a garment's image.
        visible: least share of a garment that others leave to be seen.
    """

    size: int
    garments: tuple[int, int]
    sides: tuple[int, int]
    visible: float


def silhouette(garment: np.ndarray) -> np.ndarray:
    """Return where a garment is, its dark spots included: pixels that are between bright ones in all four directions.

    Args:
        garment: grey levels on black, uint8 (h, w).

    Returns:
        bool (h, w).

    Examples:
        >>> silhouette(np.array([[0, 99, 0], [99, 0, 99], [0, 99, 0]], "uint8")).astype(int).tolist()
        [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    """
    bright = garment >= _DARKEST
    seen = np.maximum.accumulate
    vertical = seen(bright, 0) & seen(bright[::-1], 0)[::-1]
    return vertical & seen(bright, 1) & seen(bright[:, ::-1], 1)[:, ::-1]


def compose_scene(rng: np.random.Generator, rules: Composition, images: np.ndarray, labels: np.ndarray) -> Scene:
    """Return a scene of garments drawn at random; later ones lie on earlier ones.

    Args:
        rng: random generator, which determines all of it.
        rules: size, number and overlap.
        images: garments on black, uint8 (N, s, s).
        labels: class of each garment, ints (N,).
    """
    canvas = _background(rng, rules.size)
    instances = np.zeros((rules.size, rules.size), np.uint8)
    areas, classes = [0], []
    for _ in range(rng.integers(*rules.garments, endpoint=True)):
        chosen = rng.integers(len(images))
        pixels, cover = _resized(rng, rules, images[chosen])
        solid = cover >= 128
        place = _place(rng, rules, instances, areas, solid)
        if place is None:
            continue
        classes.append(labels[chosen])
        areas.append(int(np.count_nonzero(solid)))
        canvas[place] = np.minimum(canvas[place] * (255 - cover) // 255 + pixels, 255)
        instances[place][solid] = len(classes)
    count, most = len(classes), rules.garments[1]
    found = np.full(most, -1, np.int32)
    found[:count] = classes
    boxes = np.zeros((most, 4), np.float32)
    for i in range(count):
        boxes[i] = np.divide(_edges(instances == i + 1), rules.size)
    mask = np.concatenate([[0], found + 1]).astype(np.uint8)[instances]
    return Scene(canvas[..., None].astype(np.uint8), mask, instances, boxes, found)


def _background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Grey levels of a canvas, int32 (size, size): soft shades and noise."""
    shades = rng.integers(0, _BRIGHTEST_SHADE, (_SHADES, _SHADES), np.uint8, endpoint=True)
    smooth = np.asarray(Image.fromarray(shades).resize((size, size), Image.Resampling.BICUBIC), np.int32)
    return np.clip(smooth + rng.integers(-_NOISE, _NOISE, smooth.shape, endpoint=True), 0, 255)


def _resized(rng: np.random.Generator, rules: Composition, garment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A garment at a random size, either way round, black outside its silhouette; and how much it covers of 255."""
    side = int(rng.integers(*rules.sides, endpoint=True))
    garment = garment[:, ::-1] if rng.integers(2) else garment
    inside = silhouette(garment).astype(np.uint8)
    pixels, cover = (
        np.asarray(Image.fromarray(each).resize((side, side), Image.Resampling.BILINEAR), np.int32)
        for each in (garment * inside, 255 * inside)
    )
    return pixels, cover


def _place(
    rng: np.random.Generator, rules: Composition, instances: np.ndarray, areas: list[int], solid: np.ndarray
) -> tuple[slice, slice] | None:
    """A random place where enough of all garments is left to be seen; None where none was found."""
    if not solid.any():
        return None
    least = np.maximum(np.multiply(areas, rules.visible), 1)
    shown = np.bincount(instances.ravel(), minlength=len(areas))
    for _ in range(_TRIALS):
        top, left = (int(rng.integers(0, rules.size - side, endpoint=True)) for side in solid.shape)
        place = slice(top, top + solid.shape[0]), slice(left, left + solid.shape[1])
        hidden = np.bincount(instances[place][solid], minlength=len(areas))
        if np.all((shown - hidden >= least)[1:]):
            return place
    return None


def _edges(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Top, left, bottom and right edge of what is set, in pixels."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
