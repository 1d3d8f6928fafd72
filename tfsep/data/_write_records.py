"""Writing records: whole, or not at all."""

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
from tfsep.data._record_index import RECORDS_INDEX, SHARD_SUFFIX, Index, Shard, StoredSplit
from tfsep.data._records import IMAGE, LABEL
from tfsep.data._split import Split, add_to


def _record(content: bytes, label: int) -> bytes:
    features = {
        IMAGE: tf.train.Feature(bytes_list=tf.train.BytesList(value=[content])),
        LABEL: tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def _write_shard(path: Path, images: Iterator[tuple[bytes, int]]) -> Shard:
    digest, count = hashlib.sha256(), 0
    with tf.io.TFRecordWriter(str(path)) as writer:
        for content, label in images:
            writer.write(_record(content, label))
            add_to(digest, content, label)
            count += 1
    return Shard(path.name, count, path.stat().st_size, digest.hexdigest())


def _write_split(folder: Path, name: str, split: Split, shards: int) -> StoredSplit:
    """Write a split's shards, neighbours staying neighbours."""
    shards = min(shards, split.size)
    images, written = split.stored(), []
    for i in range(shards):
        path = folder / f"{name}-{i:05d}-of-{shards:05d}{SHARD_SUFFIX}"
        written.append(_write_shard(path, islice(images, split.shard(shards, i).size)))
    next(images, None)  # there is none; what comes after the last image is its file's last check
    return StoredSplit(split.encoding, split.largest_label, tuple(written))


def write_records(data: ImageData, folder: str | PathLike[str], shards: int = 16) -> Path:
    """Write a data set as TFRecord shards, which `open_data` opens.

    The images of files are kept as they are, byte by byte, and are still scaled when they are read; those of arrays are
    written as their pixels. Their order is kept, and with it their fingerprint.

    Args:
        data: any data set, records too.
        folder: to make; it must not exist, or be empty. It is there when everything is written, and not before.
        shards: files to write for each split, or as many as it has images. An epoch reads eight at a time and is the
            better shuffled the more there are; with fewer than there are workers, several read the same ones.

    Returns:
        The folder.

    Raises:
        TypeError: if `data` or `folder` is something else.
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
        index = Index(data.name, data.notice, data.image_shape, data.class_names, splits)
        index.write(partial / RECORDS_INDEX)
        partial.replace(folder)
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
        raise OSError(f"folder: expected one that takes the records, got {folder} ({reason})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder
