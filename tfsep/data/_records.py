"""Records: a data set in TFRecord shards, read in sequence, so that memory does not grow with the data.

A record is a ``tf.train.Example`` with an image and a label, under the names of TF-slim's data sets.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfsep._keras.backend import tf
from tfsep._keras.types import Shape, Tensor
from tfsep._utils.arguments import as_path
from tfsep.data._decode import DECODERS, decoded_size
from tfsep.data._epoch_shard import EpochShard
from tfsep.data._image_data import ImageData
from tfsep.data._image_shape import open_shape
from tfsep.data._numbered_examples import epoch_generator
from tfsep.data._preprocessing import DEFAULT, Preprocessing
from tfsep.data._record_index import RECORDS_INDEX, SHARD_SUFFIX, RecordShard, read_index
from tfsep.data._split import Split, update_digest

IMAGE_KEY, LABEL_KEY = "image/encoded", "image/class/label"

_PARALLEL_SHARDS = 8
"""Shards that an epoch reads side by side."""

_SHUFFLE_WINDOW = 1024
"""Images that an epoch shuffles at a time."""


class ShardSlice(NamedTuple):
    """The records of a shard from `start` to `stop`."""

    shard: RecordShard
    start: int
    stop: int

    @property
    def size(self) -> int:
        """The number of records."""
        return self.stop - self.start


def _subrange(slices: Iterable[ShardSlice], start: int, stop: int) -> tuple[ShardSlice, ...]:
    """The records from `start` to `stop` of a sequence of slices."""
    kept, offset = [], 0
    for shard, first, last in slices:
        part = ShardSlice(shard, max(first, first + start - offset), min(last, first + stop - offset))
        if part.size > 0:
            kept.append(part)
        offset += last - first
    return tuple(kept)


def _slice_records(path: str | Tensor, start: int | Tensor, stop: int | Tensor) -> tf.data.Dataset:
    """The serialized records of a file from `start` to `stop`."""
    return tf.data.TFRecordDataset(path).skip(start).take(stop - start)


def _parse_record(record: Tensor) -> tuple[Tensor, Tensor]:
    """The encoded image and the int32 label of a record."""
    features = {IMAGE_KEY: tf.io.FixedLenFeature((), tf.string), LABEL_KEY: tf.io.FixedLenFeature((), tf.int64)}
    example = tf.io.parse_single_example(record, features)
    return example[IMAGE_KEY], tf.cast(example[LABEL_KEY], "int32")


@dataclass(frozen=True)
class RecordSplit(Split):
    """Images in shards.

    Memory holds a few numbers per shard and, during an epoch, up to two shuffle windows.

    Shards are read from their beginnings. An epoch takes them in a shuffled order, eight side by side, and shuffles
    images in windows of 1024. So its order is less uniform than that of a split whose images are read by number, and
    depends on the division into shards: each should have images of all classes, as with `write_records` of an
    `image_folder`. A worker's share is a sequence of shards, another one in each epoch, whose first and last may be
    incomplete: it has the size of the share of any other split, but the workers' batches of a step are not together the
    batch of a single process.

    A part of the split (`take`, `shard`) may begin and end inside a shard, whose earlier records are then skipped: any
    number of images can be held out.

    Attributes:
        folder: folder of the shards.
        slices: records to read, in order.
        image_shape: (H, W, C) of each image.
        stored_encoding: `encoding` in the index.
        stored_largest_label: `largest_label` in the index, of all shards.
        preprocessing: preprocessing from files to images, and from images to the input of a network.
    """

    folder: Path
    slices: tuple[ShardSlice, ...]
    image_shape: tuple[int, int, int]
    stored_encoding: str
    stored_largest_label: int
    preprocessing: Preprocessing = DEFAULT

    @property
    def labels(self) -> Tensor:
        """All labels, an int32 tensor (N,), read from the records."""
        labels = self._records(self.slices).map(lambda record: _parse_record(record)[1])
        return tf.constant(list(labels.as_numpy_iterator()), "int32")

    @property
    def size(self) -> int:
        """The number of images."""
        return sum(part.size for part in self.slices)

    @property
    def largest_label(self) -> int:
        """The largest label of all shards, from the index."""
        return self.stored_largest_label

    @property
    def encoding(self) -> str:
        """How images are stored; see `Split.encoding`."""
        return self.stored_encoding

    @property
    def shard_sizes(self) -> tuple[int, ...]:
        """The number of images of each shard in this split."""
        return tuple(part.size for part in self.slices)

    def take(self, start: int, stop: int | None = None) -> "RecordSplit":
        """Return the images from `start` to `stop`; see `Split.take`."""
        chosen = range(self.size)[start:stop]
        return replace(self, slices=_subrange(self.slices, chosen.start, chosen.stop))

    def _records(self, slices: tuple[ShardSlice, ...], parallel: int = 1) -> tf.data.Dataset:
        """The serialized records of some slices, from `parallel` slices by turns."""
        if len(slices) == 1:
            return _slice_records(str(self.folder / slices[0].shard.file), slices[0].start, slices[0].stop)
        paths = [str(self.folder / part.shard.file) for part in slices]
        ends = np.array([part[1:] for part in slices], "int64").reshape(-1, 2)
        return tf.data.Dataset.from_tensor_slices((tf.constant(paths, tf.string), ends)).interleave(
            lambda path, ends: _slice_records(path, ends[0], ends[1]),
            cycle_length=parallel,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )

    def _load(self, record: Tensor) -> tuple[Tensor, Tensor]:
        content, label = _parse_record(record)
        return DECODERS[self.encoding](content, self.image_shape, self.preprocessing), label

    def in_order(self) -> tf.data.Dataset:
        """Return a ``tf.data.Dataset`` of (uint8 image (H, W, C), int32 label), in order."""
        return self._records(self.slices).map(self._load, num_parallel_calls=tf.data.AUTOTUNE)

    def examples(self, seed: int, epoch: int, shard: EpochShard | None = None) -> tf.data.Dataset:
        """Return the examples of an epoch, shuffled within the limits of shards; see `Split.examples`."""
        generator = epoch_generator(seed, epoch)
        slices = [self.slices[i] for i in generator.permutation(len(self.slices))]
        key = int(generator.integers(2**63))
        shard = shard or EpochShard()
        start = sum(replace(shard, index=i).size(self.size) for i in range(shard.index))

        def shuffle(number: Tensor, window: Tensor) -> Tensor:
            keys = tf.random.stateless_uniform(tf.shape(window), tf.stack([key, number]), alg="philox")
            return tf.gather(window, tf.argsort(keys))

        records = self._records(_subrange(slices, start, start + shard.size(self.size)), _PARALLEL_SHARDS)
        windows = records.batch(_SHUFFLE_WINDOW).enumerate().map(shuffle)
        return windows.unbatch().map(self._load, num_parallel_calls=tf.data.AUTOTUNE)

    def encoded_images(self) -> Iterator[tuple[bytes, int]]:
        """Yield each image in its encoding, and its label, in order; each is decoded once, as a check.

        Raises:
            ValueError: for a damaged shard, an image that cannot be decoded, or a shard that is not that of the index;
                the message names the file.
        """
        for part in self.slices:
            yield from self._encoded_images_of(part)

    def _encoded_images_of(self, part: ShardSlice) -> Iterator[tuple[bytes, int]]:
        path = self.folder / part.shard.file
        pixels = math.prod(self.image_shape) if self.encoding == "pixels" else None

        def read(record: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            content, label = _parse_record(record)
            # TensorFlow leaves out operations without a consumer, such as a decoded image: its size is one.
            return content, label, decoded_size(content, self.image_shape[2]) if pixels is None else pixels

        records = self._records((part,)).map(read, num_parallel_calls=tf.data.AUTOTUNE)
        digest, count = hashlib.sha256(), 0
        try:
            for content, label, _ in records.as_numpy_iterator():
                if pixels not in (None, len(content)):
                    raise ValueError(f"data: expected images of {pixels} bytes in {path}, got one of {len(content)}")
                update_digest(digest, content, int(label))
                yield content, int(label)
                count += 1
        except tf.errors.OpError as error:
            number = part.start + count
            raise ValueError(
                f"data: expected whole records of images, got {path}, damaged in record {number}"
            ) from error
        if count != part.size:
            raise ValueError(f"data: expected {part.stop} records in {path}, got {part.start + count}")
        if part.size == part.shard.images and digest.hexdigest() != part.shard.sha256:
            raise ValueError(f"data: expected the images that {RECORDS_INDEX} describes, got others in {path}")


def _require_shards(folder: Path, shards: list[RecordShard]) -> None:
    """Raise unless the folder has exactly the shards of the index, of the same sizes."""
    extra = sorted({path.name for path in folder.glob(f"*{SHARD_SUFFIX}")} - {shard.file for shard in shards})
    if extra:
        raise ValueError(f"data: expected only the shards that {RECORDS_INDEX} names, got {folder / extra[0]} as well")
    for shard in shards:
        path = folder / shard.file
        if not path.is_file():
            raise FileNotFoundError(f"data: expected every shard that {RECORDS_INDEX} names, got no {path}")
        size = path.stat().st_size
        if size != shard.bytes:
            raise ValueError(f"data: expected {shard.bytes} bytes, as {RECORDS_INDEX} says, got {size} in {path}")


def open_records(folder: str | PathLike[str], image_shape: Shape | None = None) -> ImageData:
    """Return the data set in a folder of records.

    A missing, additional or truncated shard is an error here; damage inside a shard is found by `Split.check`.

    Args:
        folder: folder from `write_records`.
        image_shape: (H, W, C) of images of files after the resize; sizes that are None or not given are those of the
            index. Images stored as pixels keep their size.

    Raises:
        TypeError: if `folder` is no path.
        FileNotFoundError: if the index or a shard is missing.
        ValueError: for a damaged index, shards of another data set, or an `image_shape` of another form.

    Examples:
        >>> open_records("no such folder")
        Traceback (most recent call last):
        FileNotFoundError: data: expected a folder with records.json, got no such folder
    """
    folder, wanted = as_path(folder, "data"), open_shape(image_shape)
    if not (folder / RECORDS_INDEX).is_file():
        raise FileNotFoundError(f"data: expected a folder with {RECORDS_INDEX}, got {folder}")
    index = read_index(folder / RECORDS_INDEX)
    _require_shards(folder, [shard for split in index.splits.values() for shard in split.shards])
    as_files = all(split.encoding == "file" for split in index.splits.values())
    rows, columns, channels = (w if w and as_files else own for w, own in zip(wanted, index.image_shape, strict=True))
    if as_files and channels not in (1, 3):
        raise ValueError(f"image_shape: expected 1 or 3 channels, got {channels}")

    def split(name: str) -> RecordSplit:
        stored = index.splits[name]
        slices = tuple(ShardSlice(shard, 0, shard.images) for shard in stored.shards)
        return RecordSplit(folder, slices, (rows, columns, channels), stored.encoding, stored.largest_label)

    return ImageData(index.name, index.class_names, split("train"), split("test"), index.notice)
