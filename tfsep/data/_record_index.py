"""The index of a folder of records, ``records.json``: sizes and hashes of the shards."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tfsep._utils.arguments import number_in_range, one_of, positive_int, short_repr
from tfsep.data._decode import DECODERS

RECORDS_INDEX = "records.json"
SHARD_SUFFIX = ".tfrecord"
_VERSION = 1


@dataclass(frozen=True)
class RecordShard:
    """A file of records.

    Attributes:
        file: name, in the folder of the index.
        images: number of images.
        bytes: size of the file.
        sha256: hash of images and labels, by `Split.fingerprint`.

    Raises:
        ValueError: for a field of another type or out of range; the message starts with its name.
    """

    file: str
    images: int
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        """Validate the fields."""
        for name in ("file", "sha256"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name}: expected a string, got {short_repr(getattr(self, name))}")
        if Path(self.file).name != self.file or not self.file.endswith(SHARD_SUFFIX):
            raise ValueError(f"file: expected the name of a {SHARD_SUFFIX} file, got {short_repr(self.file)}")
        for name in ("images", "bytes"):
            number_in_range(getattr(self, name), name, int, 1)


@dataclass(frozen=True)
class IndexedShards:
    """A split in shards.

    Attributes:
        encoding: encoding of all images, a key of `DECODERS`.
        largest_label: largest label of all shards.
        shards: shards in order.

    Raises:
        ValueError: for a field of another type or out of range; the message starts with its name.
    """

    encoding: str
    largest_label: int
    shards: tuple[RecordShard, ...]

    def __post_init__(self) -> None:
        """Validate the fields."""
        one_of(self.encoding, "encoding", DECODERS)
        number_in_range(self.largest_label, "largest_label", int, 0)


@dataclass(frozen=True)
class RecordIndex:
    """The index.

    Attributes:
        name: name of the data set.
        notice: copyright and licence of the images; empty where unknown.
        image_shape: (H, W, C) of each image.
        class_names: class names by label.
        splits: ``"train"`` and ``"test"``.

    Raises:
        ValueError: for a field of another type or out of range; the message starts with its name.
    """

    name: str
    notice: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    splits: dict[str, IndexedShards]

    def __post_init__(self) -> None:
        """Validate the fields."""
        if len(self.image_shape) != 3:
            raise ValueError(f"image_shape: expected (H, W, C), got {short_repr(self.image_shape)}")
        for length in self.image_shape:
            positive_int(length, "image_shape")
        for text in (self.name, self.notice, *self.class_names):
            if not isinstance(text, str):
                raise ValueError(f"name, notice, class_names: expected strings, got {short_repr(text)}")
        if self.splits.keys() != {"train", "test"}:
            raise ValueError(f"splits: expected train and test, got {', '.join(self.splits)}")

    def write(self, path: Path) -> None:
        """Write the index as JSON."""
        path.write_text(json.dumps({"version": _VERSION, **asdict(self)}, indent=2) + "\n", encoding="utf-8")


def read_index(path: Path) -> RecordIndex:
    """Read and validate an index.

    Raises:
        ValueError: for a damaged index, or one of another version.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        version = stored.pop("version")
        if version != _VERSION:
            raise ValueError(f"version: expected {_VERSION}, got {short_repr(version)}")
        splits = {name: _split_of(**split) for name, split in stored.pop("splits").items()}
        shape, names = (tuple(stored.pop(name)) for name in ("image_shape", "class_names"))
        return RecordIndex(image_shape=shape, class_names=names, splits=splits, **stored)
    except KeyError as error:
        raise ValueError(f"data: expected an index with {error}, got {path} without") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"data: expected a whole index of records, got a damaged {path} ({error})") from error


def _split_of(shards: list[dict[str, Any]], **fields: Any) -> IndexedShards:
    return IndexedShards(shards=tuple(RecordShard(**shard) for shard in shards), **fields)
