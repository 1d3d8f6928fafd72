"""A data set as a record: its classes and its two splits."""

from dataclasses import dataclass
from typing import Any

from tfsep.data._split import Split


@dataclass(frozen=True)
class ImageData:
    """A data set: its name, its classes, and two splits.

    Attributes:
        notice: copyright and licence of the images, for whoever passes them on; empty where it is not known.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    test: Split
    notice: str = ""

    def __post_init__(self) -> None:
        """Refuse, when the record is made, splits that do not belong to these classes or to each other."""
        for name, part in (("train", self.train), ("test", self.test)):
            if part.size == 0:
                raise ValueError(f"{name}: expected at least one image, got none")
            if part.largest_label >= len(self.class_names):
                raise ValueError(
                    f"{name}: expected labels of {len(self.class_names)} classes, got {part.largest_label}"
                )
        if self.test.image_shape != self.train.image_shape:
            raise ValueError(
                f"test: expected images of {self.train.image_shape}, as in train, got {self.test.image_shape}"
            )

    def identity(self) -> dict[str, Any]:
        """Return what tells this data from other data, for JSON: shape, classes, numbers of images, and hashes.

        Every image is read once. Where the files lie, and what they are called, is no part of it; into how many shards
        the training images are divided is, as it decides in what order a run sees them.

        Raises:
            ValueError: if an image cannot be decoded; the message names the file.
        """
        return {
            "image_shape": list(self.image_shape),
            "class_names": list(self.class_names),
            "train_images": self.train.size,
            "train_shards": list(self.train.shard_sizes),
            "test_images": self.test.size,
            "train_sha256": self.train.fingerprint(),
            "test_sha256": self.test.fingerprint(),
        }

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every image."""
        return self.train.image_shape
