"""Shares of an epoch for several workers."""

from dataclasses import dataclass

import numpy as np

from tfsep._utils.arguments import number_in_range, positive_int


@dataclass(frozen=True)
class EpochShard:
    """One worker's share of the images of an epoch, dealt out in batches by turns.

    The first `batch_size` images of an epoch are the first batch of worker 0, the next ones that of worker 1, and so
    on in turn. So the k-th batches of all workers together are the k-th batch of a single process with batches of
    ``count * batch_size``; no image is left out or repeated. The last, incomplete round is dealt out as well: `size`
    differs between workers by up to a batch, while `steps` is the same for all of them.

    Attributes:
        index: number of the worker, from 0.
        count: number of workers.
        batch_size: images of this worker in a step: the global batch divided by `count`.

    Raises:
        ValueError: for a field out of range; the message starts with its name.

    Examples:
        >>> EpochShard(1, count=2, batch_size=3).positions(10)
        array([3, 4, 5, 9])
    """

    index: int = 0
    count: int = 1
    batch_size: int = 1

    def __post_init__(self) -> None:
        """Validate the fields."""
        for name in ("count", "batch_size"):
            object.__setattr__(self, name, positive_int(getattr(self, name), name))
        object.__setattr__(self, "index", number_in_range(self.index, "index", int, 0, self.count - 1))

    def positions(self, images: int) -> np.ndarray:
        """Return the places of this worker's images in the order of an epoch, ascending ints.

        Args:
            images: number of images of the epoch.
        """
        positions = np.arange(images)
        return positions[positions // self.batch_size % self.count == self.index]

    def size(self, images: int) -> int:
        """Return the number of this worker's images.

        Args:
            images: number of images of the epoch.

        Examples:
            >>> [EpochShard(i, count=2, batch_size=3).size(10) for i in range(2)]
            [6, 4]
        """
        rounds, rest = divmod(images, self.count * self.batch_size)
        return rounds * self.batch_size + min(max(rest - self.index * self.batch_size, 0), self.batch_size)

    def steps(self, images: int) -> int:
        """Return the number of whole batches that every worker has.

        The ``images - steps * count * batch_size`` images behind them are left out where remainders are dropped; as
        every epoch has its own order, they are others each time.

        Args:
            images: number of images of the epoch.

        Examples:
            >>> EpochShard(1, count=2, batch_size=3).steps(10)
            1
        """
        return images // (self.count * self.batch_size)
