"""Scenes of Fashion-MNIST's garments, for segmentation and detection: composed when they are read, none is stored."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor
from tfsep._utils.arguments import number_in_range, positive_int, short_repr
from tfsep.data._compose_scene import Composition, Scene, compose_scene
from tfsep.data._epoch_shard import EpochShard
from tfsep.data._fashion_mnist import fashion_mnist
from tfsep.data._image_data import ImageData
from tfsep.data._numbered_examples import NumberedExamples, preprocessed_batches
from tfsep.data._preprocessing import DEFAULT, Preprocessing

_HELD_OUT_PART = 12
"""One in so many training garments is held out."""

SceneTarget: TypeAlias = dict[str, Tensor]
"""The fields of a `Scene` but its image, by name."""


@dataclass(frozen=True)
class SceneSplit(NumberedExamples):
    """A split of scenes.

    A scene is a function of the seed, the split and its number alone. Memory holds the garments, and one scene at a
    time.

    Attributes:
        garments: Fashion-MNIST's images of this split, uint8 (N, 28, 28).
        labels: class of each garment, ints (N,).
        rules: size, number and overlap of garments in a scene.
        seed: the seed of the data set, and the number of the split.
        numbers: numbers of the scenes.
        preprocessing: preprocessing from images to the input of a network.
    """

    garments: np.ndarray
    labels: np.ndarray
    rules: Composition
    seed: tuple[int, int]
    numbers: range
    preprocessing: Preprocessing = DEFAULT

    @property
    def size(self) -> int:
        """The number of scenes."""
        return len(self.numbers)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of each image."""
        return self.rules.size, self.rules.size, 1

    def scene(self, index: int) -> Scene:
        """Return a scene as NumPy arrays.

        Args:
            index: place in the split, from 0.

        Raises:
            IndexError: if there is no such scene.
        """
        rng = np.random.default_rng((*self.seed, self.numbers[index]))
        return compose_scene(rng, self.rules, self.garments, self.labels)

    def images(self) -> np.ndarray:
        """Return the images of all scenes, uint8 (N, H, W, 1)."""
        return np.stack([self.scene(number).image for number in range(self.size)])

    def load(self, index: Tensor) -> tuple[Tensor, SceneTarget]:
        """Return the image of a scene, uint8 (H, W, 1), and the other fields of `Scene` by name."""
        types = (tf.uint8, tf.uint8, tf.uint8, tf.float32, tf.int32)
        parts = tf.numpy_function(lambda i: tuple(self.scene(int(i))), [index], types, stateful=False)
        canvas, most = self.image_shape[:2], self.rules.garments[1]
        shapes = (self.image_shape, canvas, canvas, (most, 4), (most,))
        image, *target = (tf.ensure_shape(part, shape) for part, shape in zip(parts, shapes, strict=True))
        return image, dict(zip(Scene._fields[1:], target, strict=True))

    def examples(self, seed: int, epoch: int, shard: EpochShard | None = None) -> tf.data.Dataset:
        """Return the examples of an epoch, shuffled: as many new scenes as there are, behind those of the epoch before.

        Args:
            seed: number from 0 that draws the order.
            epoch: number of the epoch, at least 0; 0 for the scenes of the split itself.
            shard: this worker's share; None for all examples.
        """
        first = self.numbers.start + epoch * self.size
        own = replace(self, numbers=range(first, first + self.size))
        return super(SceneSplit, own).examples(seed, epoch, shard)

    def take(self, start: int, stop: int | None = None) -> "SceneSplit":
        """Return the scenes from `start` to `stop`, by the rules of a slice.

        Args:
            start: first scene; from the end where negative.
            stop: scene after the last; None for all to the end.
        """
        return replace(self, numbers=self.numbers[start:stop])

    def shard(self, count: int, index: int) -> "SceneSplit":
        """Return one of `count` equal shares; see `Split.shard`.

        Args:
            count: number of shares.
            index: which of them, from 0.
        """
        share = EpochShard(index, count)
        return self.take(self.size * share.index // share.count, self.size * (share.index + 1) // share.count)

    def identity(self) -> dict[str, Any]:
        """Return what tells this split from others, for JSON."""
        digest = hashlib.sha256(np.ascontiguousarray(self.garments).tobytes())
        digest.update(np.asarray(self.labels, np.int64).tobytes())
        return {
            "rules": [list(rule) if isinstance(rule, tuple) else rule for rule in self.rules],
            "seed": list(self.seed),
            "scenes": [self.numbers.start, self.numbers.stop],
            "garments_sha256": digest.hexdigest(),
        }

    def batches(self, batch_size: int = 128) -> tf.data.Dataset:
        """Return a ``tf.data.Dataset`` of (preprocessed images, the other fields of `Scene` by name), in order.

        Args:
            batch_size: scenes in a batch; the last one may have fewer.

        Raises:
            ValueError: if `batch_size` is not a positive int.
        """
        return preprocessed_batches(self.in_order(), self.preprocessing, batch_size)


@dataclass(frozen=True)
class SceneData:
    """A data set of scenes, with no garment in two splits.

    Attributes:
        name: name of the data set.
        class_names: names of the garments' classes; the background is none of them.
        train: the scenes to train on.
        held_out: the scenes to choose settings by.
        test: the scenes to evaluate on.
        notice: copyright and licence of the garments' images, to be passed on with them.
    """

    name: str
    class_names: tuple[str, ...]
    train: SceneSplit
    held_out: SceneSplit
    test: SceneSplit
    notice: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every image."""
        return self.train.image_shape

    def with_preprocessing(self, preprocessing: Preprocessing) -> "SceneData":
        """Return the same scenes with another preprocessing.

        Args:
            preprocessing: preprocessing from images to the input of a network.

        Raises:
            ValueError: for one of images in colour.
        """
        preprocessing.require_channels(self.image_shape[2])
        train, held_out, test = (
            replace(split, preprocessing=preprocessing) for split in (self.train, self.held_out, self.test)
        )
        return replace(self, train=train, held_out=held_out, test=test)

    def identity(self) -> dict[str, Any]:
        """Return what tells this data set from others, for JSON: shape, classes, and each split's scenes."""
        splits = {name: getattr(self, name).identity() for name in ("train", "held_out", "test")}
        return {"image_shape": list(self.image_shape), "class_names": list(self.class_names), **splits}


def fashion_scenes(
    seed: int = 0,
    train: int = 20_000,
    held_out: int = 1_000,
    test: int = 2_000,
    *,
    size: int = 96,
    garments: tuple[int, int] = (1, 5),
    scale: tuple[float, float] = (0.8, 1.8),
    visible: float = 0.5,
    source: ImageData | None = None,
) -> SceneData:
    """Return scenes of Fashion-MNIST's garments, scaled, placed and overlapping, with boxes and masks.

    Test scenes are of the 10,000 test garments, held-out scenes of 5,000 of the 60,000 training garments, training
    scenes of the others.

    Args:
        seed: number from 0 that determines every scene.
        train: number of training scenes; any number takes the same memory.
        held_out: number of held-out scenes.
        test: number of test scenes.
        size: rows and columns of a scene.
        garments: fewest and most garments of a scene. A garment for which there is no room is left out.
        scale: smallest and largest size of a garment, in multiples of its image's 28 pixels.
        visible: least share of a garment that others leave to be seen, in [0, 1].
        source: the garments, square grey images on black; None for `fashion_mnist`.

    Raises:
        TypeError: if `source` is no `ImageData`.
        ValueError: for an argument out of range, a garment that is larger than a scene, or a source of other images or
            of a single one.

    Examples:
        >>> from tfsep.data import Split
        >>> squares = Split.of(np.full((24, 28, 28, 1), 200, "uint8"), np.arange(24) % 10)
        >>> scenes = fashion_scenes(0, source=ImageData("squares", tuple("abcdefghij"), squares, squares))
        >>> scene = scenes.train.scene(7)
        >>> scene.image.shape, scene.mask.shape, scene.boxes.shape
        ((96, 96, 1), (96, 96), (5, 4))
    """
    seed = number_in_range(seed, "seed", int, 0)
    counts = [positive_int(n, name) for n, name in ((train, "train"), (held_out, "held_out"), (test, "test"))]
    size = positive_int(size, "size")
    fewest, most = _two(garments, "garments")
    fewest, most = number_in_range(fewest, "garments", int, 1), number_in_range(most, "garments", int, fewest, 255)
    smallest, largest = _two(scale, "scale")
    smallest = number_in_range(smallest, "scale", float, 0.1)
    largest = number_in_range(largest, "scale", float, smallest)
    visible = number_in_range(visible, "visible", float, 0, 1)
    if not isinstance(source, ImageData | None):
        raise TypeError(f"source: expected an ImageData, or None, got {short_repr(source)}")
    source = source or fashion_mnist()
    side, columns, channels = source.image_shape
    if columns != side or channels != 1:
        raise ValueError(f"source: expected square grey images, got {source.image_shape}")
    if largest * side >= size + 1:
        raise ValueError(f"scale: expected garments of at most {size} pixels, got {largest:g} times {side}")
    sides = int(smallest * side), int(largest * side)
    rules = Composition(size, (fewest, most), sides, visible)
    held = max(1, source.train.size // _HELD_OUT_PART)
    parts = source.train.take(0, -held), source.train.take(-held), source.test
    if not parts[0].size:
        raise ValueError(f"source: expected two training garments or more, got {source.train.size}")
    splits = [
        SceneSplit(part.images()[..., 0], np.asarray(part.labels), rules, (seed, place), range(count))
        for place, (part, count) in enumerate(zip(parts, counts, strict=True))
    ]
    return SceneData("fashion_scenes", source.class_names, splits[0], splits[1], splits[2], source.notice)


def _two(value: Any, name: str) -> tuple[Any, Any]:
    """A pair: the smallest and the largest."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ValueError(f"{name}: expected the smallest and the largest, got {short_repr(value)}")
    return value[0], value[1]
