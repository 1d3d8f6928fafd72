"""Writing of records: a whole folder, or none."""

import hashlib
import shutil
from collections.abc import Iterator
from itertools import islice
from os import PathLike
from pathlib import Path

from tfsep._keras.backend import tf
from tfsep._utils.arguments import as_path, positive_int
from tfsep._utils.atomic_files import make_folder
from tfsep.data._image_data import ImageData
from tfsep.data._record_index import RECORDS_INDEX, SHARD_SUFFIX, IndexedShards, RecordIndex, RecordShard
from tfsep.data._records import IMAGE_KEY, LABEL_KEY
from tfsep.data._split import Split, update_digest


def _serialized_example(content: bytes, label: int) -> bytes:
    features = {
        IMAGE_KEY: tf.train.Feature(bytes_list=tf.train.BytesList(value=[content])),
        LABEL_KEY: tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def _write_shard(path: Path, images: Iterator[tuple[bytes, int]]) -> RecordShard:
    digest, count = hashlib.sha256(), 0
    with tf.io.TFRecordWriter(str(path)) as writer:
        for content, label in images:
            writer.write(_serialized_example(content, label))
            update_digest(digest, content, label)
            count += 1
    return RecordShard(path.name, count, path.stat().st_size, digest.hexdigest())


def _write_split(folder: Path, name: str, split: Split, shards: int) -> IndexedShards:
    """Write the shards of a split, in the order of its images."""
    shards = min(shards, split.size)
    images, written = split.encoded_images(), []
    for i in range(shards):
        path = folder / f"{name}-{i:05d}-of-{shards:05d}{SHARD_SUFFIX}"
        written.append(_write_shard(path, islice(images, split.shard(shards, i).size)))
    next(images, None)  # none is left: this runs the checks behind the last image
    return IndexedShards(split.encoding, split.largest_label, tuple(written))


def write_records(data: ImageData, folder: str | PathLike[str], shards: int = 16) -> Path:
    """Write a data set as TFRecord shards, for `open_data`.

    Images of files are copied byte by byte, to be resized when they are read; images of arrays are written as pixels.
    Order and fingerprint are kept.

    Args:
        data: any data set, one of records too.
        folder: folder to make; it must be empty or not exist. It appears only when everything is written.
        shards: files for each split, at most one per image. An epoch reads eight at a time: the more shards, the better
            it is shuffled. With fewer shards than workers, several workers read the same ones.

    Returns:
        The folder.

    Raises:
        TypeError: if `data` is no data set or `folder` no path.
        ValueError: if the folder is not empty, `shards` is not a positive int, or an image cannot be decoded.
        OSError: if the folder cannot be written.

    Examples:
        >>> images, labels = np.zeros((4, 8, 8, 1), "uint8"), np.array([0, 1, 0, 1])
        >>> split = Split.of(images, labels)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     written = write_records(ImageData("grey", ("a", "b"), split, split), folder, shards=2)
        ...     sorted(path.name for path in written.glob("train*"))
        ['train-00000-of-00002.tfrecord', 'train-00001-of-00002.tfrecord']
    """
    if not isinstance(data, ImageData):
        raise TypeError(f"data: expected an ImageData, got {data!r}")
    folder, shards = as_path(folder, "folder").absolute(), positive_int(shards, "shards")
    partial = make_folder(folder.parent, "folder") / f".partial-{folder.name}"
    try:
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise ValueError(f"folder: expected one that is empty or does not exist, got {folder}")
        shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
        partial.mkdir()
        splits = {
            name: _write_split(partial, name, split, shards)
            for name, split in (("train", data.train), ("test", data.test))
        }
        index = RecordIndex(data.name, data.notice, data.image_shape, data.class_names, splits)
        index.write(partial / RECORDS_INDEX)
        partial.replace(folder)
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
        raise OSError(f"folder: expected one that takes the records, got {folder} ({reason})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder
