"""A data set as a record: its classes and its two splits."""

from dataclasses import dataclass
from typing import Any

from tfsep.data._split import Split


@dataclass(frozen=True)
class ImageData:
    """A data set of labelled images.

    Attributes:
        name: name of the data set.
        class_names: class names by label.
        train: the images to train on.
        test: the images to evaluate on, of the same shape.
        notice: copyright and licence of the images, to be passed on with them; empty where unknown.

    Raises:
        ValueError: for a split without images or with labels of other classes, or splits of different image shapes;
            the message starts with the field's name.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    test: Split
    notice: str = ""

    def __post_init__(self) -> None:
        """Validate the fields."""
        for name, split in (("train", self.train), ("test", self.test)):
            if split.size == 0:
                raise ValueError(f"{name}: expected at least one image, got none")
            if split.largest_label >= len(self.class_names):
                raise ValueError(
                    f"{name}: expected labels of {len(self.class_names)} classes, got {split.largest_label}"
                )
        if self.test.image_shape != self.train.image_shape:
            raise ValueError(
                f"test: expected images of {self.train.image_shape}, as in train, got {self.test.image_shape}"
            )

    def identity(self) -> dict[str, Any]:
        """Return what tells this data set from others, for JSON: shape, classes, numbers of images, and hashes.

        Reads every image once. The location and the names of the files do not count; the sizes of the shards of the
        training images do, because they determine the order of an epoch.

        Raises:
            ValueError: for an image that cannot be decoded; the message names the file.
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
