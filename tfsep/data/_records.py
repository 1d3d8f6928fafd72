"""Records: a data set in TFRecord shards, read one after another, so that memory does not grow with it.

A record is a ``tf.train.Example`` with an image and a label, under the names that TF-slim's own data sets have.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfsep._keras.backend import tf
from tfsep._utils.arguments import as_path
from tfsep.data._decode import ENCODINGS, decoded
from tfsep.data._epoch_shard import Part
from tfsep.data._image_data import ImageData
from tfsep.data._preprocessing import DEFAULT, Preprocessing
from tfsep.data._record_index import RECORDS_INDEX, SHARD_SUFFIX, Shard, read_index
from tfsep.data._split import Split, add_to, generator

IMAGE, LABEL = "image/encoded", "image/class/label"

# An epoch reads so many shards side by side, and shuffles so many images at a time.
_TOGETHER = 8
_WINDOW = 1024


class Piece(NamedTuple):
    """The records of a shard from `start` to `stop`."""

    shard: Shard
    start: int
    stop: int

    @property
    def size(self) -> int:
        """The number of records."""
        return self.stop - self.start


def _cut(pieces: Iterable[Piece], start: int, stop: int) -> tuple[Piece, ...]:
    """Return what of the pieces, laid end to end, is from `start` to `stop`."""
    kept, passed = [], 0
    for shard, first, last in pieces:
        piece = Piece(shard, max(first, first + start - passed), min(last, first + stop - passed))
        if piece.size > 0:
            kept.append(piece)
        passed += last - first
    return tuple(kept)


def _parsed(record: Any) -> tuple[Any, Any]:
    """Take a record apart: the image as it is stored, and the int32 label."""
    features = {IMAGE: tf.io.FixedLenFeature((), tf.string), LABEL: tf.io.FixedLenFeature((), tf.int64)}
    example = tf.io.parse_single_example(record, features)
    return example[IMAGE], tf.cast(example[LABEL], "int32")


@dataclass(frozen=True)
class RecordSplit(Split):
    """Images in shards, of which memory holds some numbers a shard, and while an epoch is read, up to two windows.

    Shards are read from their beginnings. An epoch takes them in a shuffled order, eight side by side, and shuffles the
    images in windows of 1024: so its order is less even than that of a split whose images are read by number, and
    depends on how the shards were cut; write images of all classes to every shard, as `write_records` does with those
    of `image_folder`. A worker's part is a row of whole shards, another one in each epoch, of which the outer two may
    be cut: it has as many images as of another split, but a batch of all workers is not the batch of one process.

    A part (`take`, `shard`) may begin and end inside a shard, whose records before it are then passed over: so any
    number of images can be held out.

    Attributes:
        folder: with the shards.
        pieces: what is read, in order.
        image_shape: (H, W, C) of each image.
        stored_as: the `encoding` of every image.
        stored_largest_label: over all shards.
        preprocessing: how files become images, and images what a network is given.
    """

    folder: Path
    pieces: tuple[Piece, ...]
    image_shape: tuple[int, int, int]
    stored_as: str
    stored_largest_label: int
    preprocessing: Preprocessing = DEFAULT

    @property
    def labels(self) -> Any:
        """All labels at once, an int32 tensor (N,); they are read from the records."""
        labels = self._records(self.pieces).map(lambda record: _parsed(record)[1])
        return tf.constant(list(labels.as_numpy_iterator()), "int32")

    @property
    def size(self) -> int:
        """The number of images."""
        return sum(piece.size for piece in self.pieces)

    @property
    def largest_label(self) -> int:
        """The largest label of all shards, as the index has it."""
        return self.stored_largest_label

    @property
    def encoding(self) -> str:
        """How an image is stored; see `Split.encoding`."""
        return self.stored_as

    @property
    def shard_sizes(self) -> tuple[int, ...]:
        """The numbers of images that are read of each shard."""
        return tuple(piece.size for piece in self.pieces)

    def take(self, start: int, stop: int | None = None) -> "RecordSplit":
        """Return the part from `start` to `stop`, as a slice would."""
        chosen = range(self.size)[start:stop]
        return replace(self, pieces=_cut(self.pieces, chosen.start, chosen.stop))

    def _records(self, pieces: tuple[Piece, ...], together: int = 1) -> Any:
        """Return the bytes of the records of some pieces, of so many pieces by turns."""
        paths = [str(self.folder / piece.shard.file) for piece in pieces]
        ends = np.array([piece[1:] for piece in pieces], "int64").reshape(-1, 2)
        return tf.data.Dataset.from_tensor_slices((tf.constant(paths, tf.string), ends)).interleave(
            lambda path, ends: tf.data.TFRecordDataset(path).skip(ends[0]).take(ends[1] - ends[0]),
            cycle_length=together,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )

    def _loaded(self, record: Any) -> tuple[Any, Any]:
        content, label = _parsed(record)
        return ENCODINGS[self.encoding](content, self.image_shape, self.preprocessing), label

    def in_order(self) -> Any:
        """Return a ``tf.data.Dataset`` of (uint8 image (H, W, C), int32 label), in order."""
        return self._records(self.pieces).map(self._loaded, num_parallel_calls=tf.data.AUTOTUNE)

    def examples(self, seed: int, epoch: int, part: Part | None = None) -> Any:
        """Return the examples of an epoch, shuffled as far as shards allow; see `Split.examples` and this class."""
        draws = generator(seed, epoch)
        pieces = [self.pieces[i] for i in draws.permutation(len(self.pieces))]
        key = int(draws.integers(2**63))
        part = part or Part()
        before = sum(replace(part, index=i).size(self.size) for i in range(part.index))

        def shuffled(number: Any, window: Any) -> Any:
            places = tf.random.stateless_uniform(tf.shape(window), tf.stack([key, number]), alg="philox")
            return tf.gather(window, tf.argsort(places))

        records = self._records(_cut(pieces, before, before + part.size(self.size)), _TOGETHER)
        windows = records.batch(_WINDOW).enumerate().map(shuffled)
        return windows.unbatch().map(self._loaded, num_parallel_calls=tf.data.AUTOTUNE)

    def stored(self) -> Iterator[tuple[bytes, int]]:
        """Yield each image as it is stored, and its label, in order; it is decoded first, to see that it can be.

        Raises:
            ValueError: if a shard is not whole, an image cannot be decoded, or a shard is not that of the index; the
                message names the file.
        """
        for piece in self.pieces:
            yield from self._stored_in(piece)

    def _stored_in(self, piece: Piece) -> Iterator[tuple[bytes, int]]:
        path = self.folder / piece.shard.file
        values = math.prod(self.image_shape) if self.encoding == "pixels" else None

        def read(record: Any) -> tuple[Any, Any, Any]:
            content, label = _parsed(record)
            # The size is asked for because TensorFlow leaves out what nothing depends on.
            return content, label, tf.size(decoded(content, self.image_shape[2])) if values is None else values

        records = self._records((piece,)).map(read, num_parallel_calls=tf.data.AUTOTUNE)
        digest, count = hashlib.sha256(), 0
        try:
            for content, label, _ in records.as_numpy_iterator():
                if values not in (None, len(content)):
                    raise ValueError(f"data: expected images of {values} bytes in {path}, got one of {len(content)}")
                add_to(digest, content, int(label))
                yield content, int(label)
                count += 1
        except tf.errors.OpError as error:
            number = piece.start + count
            raise ValueError(
                f"data: expected whole records of images, got {path}, damaged in record {number}"
            ) from error
        if count != piece.size:
            raise ValueError(f"data: expected {piece.stop} records in {path}, got {piece.start + count}")
        if piece.size == piece.shard.images and digest.hexdigest() != piece.shard.sha256:
            raise ValueError(f"data: expected the images that {RECORDS_INDEX} describes, got others in {path}")


def _require_shards(folder: Path, shards: list[Shard]) -> None:
    """Refuse shards that are missing, more than the index names, or of another size."""
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


def open_records(folder: str | PathLike[str], image_shape: tuple[int | None, ...] | None = None) -> ImageData:
    """Return the data set in a folder of records.

    Damage inside a shard is found by `Split.check`, and a shard that is cut short, missing or too many at once.

    Args:
        folder: as `write_records` leaves it.
        image_shape: (H, W, C) that images are brought to which are stored as files; that of the index where a size is
            not given, or images are stored as pixels.

    Raises:
        TypeError: if `folder` is no path.
        FileNotFoundError: if there is no index, or a shard is missing.
        ValueError: if the index or a shard is damaged or of another data set, or `image_shape` is none.

    Examples:
        >>> open_records("no such folder")
        Traceback (most recent call last):
        FileNotFoundError: data: expected a folder with records.json, got no such folder
    """
    folder = as_path(folder, "data")
    if not (folder / RECORDS_INDEX).is_file():
        raise FileNotFoundError(f"data: expected a folder with {RECORDS_INDEX}, got {folder}")
    index = read_index(folder / RECORDS_INDEX)
    _require_shards(folder, [shard for split in index.splits.values() for shard in split.shards])
    wanted = image_shape or (None, None, None)
    if len(wanted) != 3:
        raise ValueError(f"image_shape: expected (H, W, C) for a folder of images, got {image_shape}")
    as_files = all(split.encoding == "file" for split in index.splits.values())
    rows, columns, channels = (w if w and as_files else own for w, own in zip(wanted, index.image_shape, strict=True))
    if as_files and channels not in (1, 3):
        raise ValueError(f"image_shape: expected 1 or 3 channels, got {channels}")

    def split(name: str) -> RecordSplit:
        stored = index.splits[name]
        pieces = tuple(Piece(shard, 0, shard.images) for shard in stored.shards)
        return RecordSplit(folder, pieces, (rows, columns, channels), stored.encoding, stored.largest_label)

    return ImageData(index.name, index.class_names, split("train"), split("test"), index.notice)
