"""The description of a network's input."""

import re
from collections.abc import Sequence
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


def identifiers(names: Sequence[str], fallback: str) -> list[str]:
    """Return names that a signature takes: letters, digits and underscores, each once.

    Args:
        names: names of inputs or outputs.
        fallback: name to number where the own ones do not do.

    Examples:
        >>> identifiers(["image-1", "depth"], "input"), identifiers(["a-", "a."], "input")
        (['image_1', 'depth'], ['input_0', 'input_1'])
    """
    cleaned = [re.sub(r"\W", "_", name) for name in names]
    if len(set(cleaned)) == len(cleaned) and all(name.isidentifier() for name in cleaned):
        return cleaned
    return [f"{fallback}_{i}" for i in range(len(names))]
