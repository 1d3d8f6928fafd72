"""The shape of images as a caller gives it."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from tfsep._utils.arguments import positive_int, short_repr

OpenShape: TypeAlias = tuple[int | None, int | None, int | None]
"""(H, W, C); None for what the data say."""


def open_shape(value: Any, name: str = "image_shape") -> OpenShape:
    """Return the shape of images, of which any part may be left open.

    Args:
        value: the caller's argument: (H, W, C), or None for three times None.
        name: name of the argument, which an error starts with.

    Raises:
        ValueError: for anything else.

    Examples:
        >>> open_shape((28, None, 1)), open_shape(None)
        ((28, None, 1), (None, None, None))
    """
    if value is None:
        return None, None, None
    if not isinstance(value, Sequence | np.ndarray) or isinstance(value, str) or len(value) != 3:
        raise ValueError(f"{name}: expected (H, W, C) of images, got {short_repr(value)}")
    rows, columns, channels = (None if side is None else positive_int(side, name) for side in value)
    return rows, columns, channels
