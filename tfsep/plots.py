"""Pictures of what the other rooms compute, as Matplotlib figures that are shown or saved by whoever asked for them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tfsep import geometry

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def coverage(rates: Iterable[Any], kernel: Any = 3, *, figure: "Figure | None" = None) -> "Figure":
    """Draw how often each pixel feeds an output of a stack of dilated convolutions; holes are hatched.

    Where there are holes, the rates that `tfsep.geometry.check_rates` suggests are drawn beside them.

    Args:
        rates, kernel: as in `tfsep.geometry.coverage`.
        figure: an empty figure to draw into, such as ``plt.figure(layout="constrained")``, which pyplot shows; None for
            a new one that pyplot does not know.

    Returns:
        The figure.

    Raises:
        ValueError: as `tfsep.geometry.coverage`, and for a figure that is not empty.
        TypeError: for a figure that is none of Matplotlib's.

    Example:
        >>> figure = coverage([2, 2, 2])
        >>> [axes.get_title() for axes in figure.axes[:2]]
        ['rates 2, 2, 2: 120 of 169 pixels are holes', 'rates 1, 2, 3: no holes']
    """
    from matplotlib.figure import Figure, FigureBase

    if figure is not None and not isinstance(figure, FigureBase):
        raise TypeError(f"figure: expected a Matplotlib figure, or None, got {figure!r}")
    if figure is not None and figure.axes:
        raise ValueError(f"figure: expected an empty one, got one with {len(figure.axes)} axes")
    rates = tuple(rates)
    check = geometry.check_rates(rates, kernel)
    checks = [check] if check.complete else [check, geometry.check_rates(check.suggestion, kernel)]
    if figure is None:
        figure = Figure(figsize=(5.2 * len(checks), 4.6), layout="constrained")
    for axes, shown in zip(figure.subplots(1, len(checks), squeeze=False)[0], checks, strict=True):
        _draw(axes, shown)
    return figure


def _draw(axes: Any, check: geometry.RatesCheck) -> None:
    import numpy as np
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import MaxNLocator

    counts = geometry.coverage(check.rates, check.kernel)
    rows, columns = counts.shape
    top, left = -(rows - 1) / 2, -(columns - 1) / 2
    around = (left - 0.5, -left + 0.5, -top + 0.5, top - 0.5)
    # Hatched behind, so a hole, which is drawn as nothing, shows the hatching.
    corner = left - 0.5, top - 0.5
    axes.add_patch(Rectangle(corner, columns, rows, fc="white", ec="0.6", hatch="////", lw=0, zorder=0))
    image = axes.imshow(np.ma.masked_equal(counts, 0), cmap="viridis", extent=around, zorder=1)
    whole = MaxNLocator(integer=True, min_n_ticks=1)
    axes.figure.colorbar(image, ax=axes, label="paths to the output", shrink=0.85, ticks=whole)
    axes.set(xlabel="columns from the output", ylabel="rows from the output", title=_title(check))
    axes.locator_params(integer=True, nbins=8)


def _title(check: geometry.RatesCheck) -> str:
    rates = ", ".join(str(row) if row == column else f"{row}×{column}" for row, column in check.rates)
    holes = "no holes" if check.complete else f"{check.holes:,} of {check.size[0] * check.size[1]:,} pixels are holes"
    return f"rates {rates}: {holes}"


def training(records: list[dict[str, Any]], *, figure: "Figure | None" = None) -> "Figure":
    """Draw how a run went, epoch by epoch: loss, accuracy in training and on held-out images, and learning rate.

    Args:
        records: the lines of a run's ``log.jsonl``.
        figure: an empty figure to draw into; None for a new one that pyplot does not know.

    Returns:
        The figure.

    Example:
        >>> record = {"epoch": 1, "loss": 0.5, "accuracy": 0.8, "validation_accuracy": None, "learning_rate": 1e-3}
        >>> [axes.get_ylabel() for axes in training([record]).axes]
        ['loss', 'accuracy', 'learning rate']
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    if figure is None:
        figure = Figure(figsize=(12, 3.6), layout="constrained")
    epochs = [record["epoch"] for record in records]

    def draw(axes: Any, name: str, label: str | None = None) -> None:
        axes.plot(epochs, [record[name] for record in records], marker="o" if len(records) == 1 else "", label=label)

    losses, accuracies, rates = figure.subplots(1, 3)
    draw(losses, "loss")
    draw(accuracies, "accuracy", "training, augmented")
    if records[0]["validation_accuracy"] is not None:
        draw(accuracies, "validation_accuracy", "held out")
    accuracies.legend(loc="lower right")
    draw(rates, "learning_rate")
    for axes, label in ((losses, "loss"), (accuracies, "accuracy"), (rates, "learning rate")):
        axes.set(xlabel="epoch", ylabel=label)
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure
