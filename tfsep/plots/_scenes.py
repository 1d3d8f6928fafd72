"""Plots of pictures, with what is in them."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tfsep.plots._empty_figure import empty_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_LEAST_NAMED = 0.01
"""Share of an image's pixels from which on a class without boxes is named."""


class _Scene(Protocol):
    """A picture, and the boxes and classes of what is in it, such as `tfsep.data.Scene`."""

    @property
    def image(self) -> Any: ...
    @property
    def boxes(self) -> Any: ...
    @property
    def classes(self) -> Any: ...


def scenes(pictures: Iterable[_Scene], class_names: Sequence[str], *, figure: "Figure | None" = None) -> "Figure":
    """Plot pictures with the boxes and the masks of what is in them, or of what a model finds.

    Args:
        pictures: records with ``image`` (H, W, C), ``boxes`` (M, 4) as shares of it, ``classes`` (M,), -1 for none, and
            perhaps ``mask`` (H, W), see `tfsep.data.Scene`.
        class_names: names of the classes.
        figure: an empty figure to draw into, such as ``plt.figure(layout="constrained")``, which pyplot shows; None for
            a new one, which pyplot does not manage.

    Returns:
        The figure.

    Raises:
        ValueError: for no picture, or a figure that is not empty.
        TypeError: for a figure that is not Matplotlib's.

    Examples:
        >>> from types import SimpleNamespace as Picture
        >>> picture = Picture(image=[[[0], [9]]], boxes=[[0.0, 0.5, 1.0, 1.0]], classes=[1])
        >>> [text.get_text() for text in scenes([picture], ("shirt", "boot")).axes[0].texts]
        ['boot']
    """
    import matplotlib
    import numpy as np
    from matplotlib.patches import Rectangle

    drawn = list(pictures)
    if not drawn:
        raise ValueError("pictures: expected at least one, got none")
    columns = min(len(drawn), 4)
    rows = -(-len(drawn) // columns)
    colours = matplotlib.colormaps["turbo"].resampled(len(class_names) + 1)
    panels = empty_figure(figure, (3 * columns, 3 * rows))
    for number, picture in enumerate(drawn, 1):
        axes = panels.add_subplot(rows, columns, number)
        image = np.asarray(picture.image)
        axes.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
        if hasattr(picture, "mask"):
            mask = np.ma.masked_equal(picture.mask, 0)
            axes.imshow(mask, cmap=colours, vmin=0, vmax=len(class_names), alpha=0.4, interpolation="nearest")
            # Pixels without boxes have their names in their middle.
            for kind in np.unique(mask.compressed()) if not len(picture.boxes) else ():
                places = np.argwhere(mask == kind)
                if len(places) >= _LEAST_NAMED * mask.size:
                    row, column = places.mean(0)
                    name = class_names[int(kind) - 1]
                    axes.text(column, row, name, color="white", fontsize=7, ha="center", va="center", clip_on=True)
        sides = np.tile(image.shape[:2], 2)
        for box, name in zip(picture.boxes, picture.classes, strict=True):
            if name >= 0:
                top, left, bottom, right = np.multiply(box, sides) - 0.5
                colour = colours(int(name) + 1)
                axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, ec=colour, lw=1.5))
                axes.text(left, top, class_names[int(name)], color=colour, fontsize=7, va="bottom", clip_on=True)
        axes.set_axis_off()
    return panels
