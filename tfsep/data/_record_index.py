"""The index of a folder of records, ``records.json``: what is known of the shards without reading them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tfsep._utils.arguments import number_in_range, positive_int, short_repr
from tfsep.data._decode import ENCODINGS

RECORDS_INDEX = "records.json"
SHARD_SUFFIX = ".tfrecord"
_VERSION = 1


@dataclass(frozen=True)
class Shard:
    """A file of records, as the index has it.

    Attributes:
        file: its name, in the index's folder.
        images, bytes: its size.
        sha256: of its images and labels, as `Split.fingerprint` computes it.

    Raises:
        ValueError: naming the field that is something else.
    """

    file: str
    images: int
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        """Refuse what no index says."""
        for name in ("file", "sha256"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name}: expected a string, got {short_repr(getattr(self, name))}")
        if Path(self.file).name != self.file or not self.file.endswith(SHARD_SUFFIX):
            raise ValueError(f"file: expected the name of a {SHARD_SUFFIX} file, got {short_repr(self.file)}")
        for name in ("images", "bytes"):
            number_in_range(getattr(self, name), name, int, 1)


@dataclass(frozen=True)
class StoredSplit:
    """A split, as the index has it.

    Attributes:
        encoding: of all images, a key of `ENCODINGS`.
        largest_label: over all shards.
        shards: in order.

    Raises:
        ValueError: naming the field that is something else.
    """

    encoding: str
    largest_label: int
    shards: tuple[Shard, ...]

    def __post_init__(self) -> None:
        """Refuse what no index says."""
        if self.encoding not in ENCODINGS:
            raise ValueError(f"encoding: expected one of {', '.join(ENCODINGS)}, got {short_repr(self.encoding)}")
        number_in_range(self.largest_label, "largest_label", int, 0)


@dataclass(frozen=True)
class Index:
    """The whole of it.

    Raises:
        ValueError: naming the field that is something else.
    """

    name: str
    notice: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    splits: dict[str, StoredSplit]

    def __post_init__(self) -> None:
        """Refuse what no index says."""
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
        """Write it as JSON."""
        path.write_text(json.dumps({"version": _VERSION, **asdict(self)}, indent=2) + "\n")


def read_index(path: Path) -> Index:
    """Read and check it.

    Raises:
        ValueError: if it is damaged, or of a version that is not known.
    """
    try:
        stored = json.loads(path.read_text())
        version = stored.pop("version")
        if version != _VERSION:
            raise ValueError(f"version: expected {_VERSION}, got {short_repr(version)}")
        splits = {name: _stored_split(**split) for name, split in stored.pop("splits").items()}
        shape, names = (tuple(stored.pop(name)) for name in ("image_shape", "class_names"))
        return Index(image_shape=shape, class_names=names, splits=splits, **stored)
    except KeyError as error:
        raise ValueError(f"data: expected an index with {error}, got {path} without") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"data: expected a whole index of records, got a damaged {path} ({error})") from error


def _stored_split(shards: list[dict[str, Any]], **fields: Any) -> StoredSplit:
    return StoredSplit(shards=tuple(Shard(**shard) for shard in shards), **fields)
