"""The figure that a plot is drawn into."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def empty_figure(figure: "Figure | None", size: tuple[float, float]) -> "Figure":
    """Return the given figure, checked to be empty, or a new one of this size.

    Raises:
        ValueError: for a figure that is not empty.
        TypeError: for a figure that is not Matplotlib's.
    """
    from matplotlib.figure import Figure, FigureBase

    if figure is None:
        return Figure(figsize=size, layout="constrained")
    if not isinstance(figure, FigureBase):
        raise TypeError(f"figure: expected a Matplotlib figure, or None, got {figure!r}")
    if figure.axes:
        raise ValueError(f"figure: expected an empty one, got one with {len(figure.axes)} axes")
    return figure
