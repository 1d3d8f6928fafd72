"""Whose turn it is: how several workers share the images of an epoch."""

from dataclasses import dataclass

import numpy as np

from tfsep._utils.arguments import number_in_range, positive_int


@dataclass(frozen=True)
class Part:
    """What one of several workers takes of an epoch: it is dealt batches in turn, like cards.

    The first `batch_size` images of an epoch are worker 0's first batch, the next ones worker 1's, and so on in turn.
    So the k-th batches of all workers are together the k-th batch of one process with batches of
    ``count * batch_size``, and no image is left out or seen twice. The workers' last, incomplete round is dealt as
    well: `size` differs between workers by up to a batch, while `steps` is what every one of them can take.

    Attributes:
        index: which worker, from 0.
        count: how many workers there are.
        batch_size: how many images this worker takes at a step: the global batch, divided by `count`.

    Raises:
        ValueError: naming the field that is out of range.

    Examples:
        >>> Part(1, count=2, batch_size=3).positions(10)
        array([3, 4, 5, 9])
    """

    index: int = 0
    count: int = 1
    batch_size: int = 1

    def __post_init__(self) -> None:
        """Refuse nonsense when the record is made."""
        for name in ("count", "batch_size"):
            object.__setattr__(self, name, positive_int(getattr(self, name), name))
        object.__setattr__(self, "index", number_in_range(self.index, "index", int, 0, self.count - 1))

    def positions(self, images: int) -> np.ndarray:
        """Return which of an epoch's `images`, by their places in its order, are this worker's: ints, ascending."""
        positions = np.arange(images)
        return positions[positions // self.batch_size % self.count == self.index]

    def size(self, images: int) -> int:
        """Return how many of an epoch's `images` are this worker's.

        Examples:
            >>> [Part(i, count=2, batch_size=3).size(10) for i in range(2)]
            [6, 4]
        """
        rounds, rest = divmod(images, self.count * self.batch_size)
        return rounds * self.batch_size + min(max(rest - self.index * self.batch_size, 0), self.batch_size)

    def steps(self, images: int) -> int:
        """Return how many whole batches of an epoch's `images` every worker has.

        What lies behind them, ``images - steps * count * batch_size`` images, is left out by who drops remainders;
        in another order every epoch, so always other ones.

        Examples:
            >>> Part(1, count=2, batch_size=3).steps(10)
            1
        """
        return images // (self.count * self.batch_size)
