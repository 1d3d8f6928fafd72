"""The description of a network's input."""

from typing import NamedTuple


class InputSpec(NamedTuple):
    """An input of a network.

    Attributes:
        name: name of the input.
        shape: shape without the batch; None where any size is taken.
        dtype: NumPy's name.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
