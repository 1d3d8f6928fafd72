"""Plots of receptive fields, training runs and accuracy against cost."""

from collections.abc import Iterable, Sequence
from math import floor, log10
from typing import TYPE_CHECKING, Any, Protocol

from tfsep import geometry
from tfsep.geometry import Pair, PairLike
from tfsep.plots._empty_figure import empty_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def coverage(rates: "Iterable[int | Pair]", kernel: PairLike = 3, *, figure: "Figure | None" = None) -> "Figure":
    """Plot how often each pixel feeds an output of a stack of dilated convolutions; holes are hatched.

    If there are holes, a second plot shows the rates that `tfsep.geometry.check_rates` suggests.

    Args:
        rates: rates of the layers, ints or pairs (rows, columns), from the input on; the strides are 1.
        kernel: rows and columns, an int or a pair.
        figure: an empty figure to draw into, such as ``plt.figure(layout="constrained")``, which pyplot shows; None for
            a new one, which pyplot does not manage.

    Returns:
        The figure.

    Raises:
        ValueError: if there is no rate, a number is no positive int, the receptive field is too large to count, or the
            figure is not empty.
        TypeError: for a figure that is not Matplotlib's.

    Examples:
        >>> figure = coverage([2, 2, 2])
        >>> [axes.get_title() for axes in figure.axes[:2]]
        ['rates 2, 2, 2: 120 of 169 pixels are holes', 'rates 1, 2, 3: no holes']
    """
    rates = tuple(rates)
    check = geometry.check_rates(rates, kernel)
    checks = [check] if check.complete else [check, geometry.check_rates(check.suggestion, kernel)]
    figure = empty_figure(figure, (5.2 * len(checks), 4.6))
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
    # Holes are masked in the image and show the hatched background.
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


_HELD_OUT = {
    "validation_accuracy": "held out",
    "validation_mean_iou": "held out, mean IoU",
    "validation_map50": "held out, mAP@0.5",
}
"""Scores of held-out images in a log, and what they are called in a plot."""


def training(records: list[dict[str, Any]], *, figure: "Figure | None" = None) -> "Figure":
    """Plot a training run by epoch: loss, accuracy in training and on held-out images, and learning rate.

    Args:
        records: the lines of a run's ``log.jsonl``.
        figure: an empty figure to draw into, such as ``plt.figure(layout="constrained")``, which pyplot shows; None for
            a new one, which pyplot does not manage.

    Returns:
        The figure.

    Raises:
        ValueError: for a figure that is not empty.
        TypeError: for a figure that is not Matplotlib's.

    Examples:
        >>> record = {"epoch": 1, "loss": 0.5, "accuracy": 0.8, "validation_accuracy": None, "learning_rate": 1e-3}
        >>> [axes.get_ylabel() for axes in training([record]).axes]
        ['loss', 'accuracy', 'learning rate']
    """
    from matplotlib.ticker import MaxNLocator

    figure = empty_figure(figure, (12, 3.6))
    epochs = [record["epoch"] for record in records]

    def draw(axes: Any, name: str, label: str | None = None) -> None:
        axes.plot(epochs, [record[name] for record in records], marker="o" if len(records) == 1 else "", label=label)

    losses, accuracies, rates = figure.subplots(1, 3)
    draw(losses, "loss")
    draw(accuracies, "accuracy", "training, augmented")
    for name, label in _HELD_OUT.items():
        if records[0].get(name) is not None:
            draw(accuracies, name, label)
    accuracies.legend(loc="lower right")
    draw(rates, "learning_rate")
    for axes, label in ((losses, "loss"), (accuracies, "accuracy"), (rates, "learning rate")):
        axes.set(xlabel="epoch", ylabel=label)
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


MARKERS = "os^Dv"
"""Markers of points; colours repeat after ten."""


class _Counted(Protocol):
    """A network with its cost and its published accuracy."""

    @property
    def name(self) -> str: ...
    @property
    def macs(self) -> int: ...
    @property
    def params(self) -> int: ...
    @property
    def top1(self) -> float | None: ...


class _Measured(Protocol):
    """A file with its accuracy, its latency and its size."""

    @property
    def name(self) -> str: ...
    @property
    def accuracy(self) -> float: ...
    @property
    def median_ms(self) -> float: ...
    @property
    def size_bytes(self) -> int: ...


def pareto(points: "Iterable[_Measured]", *, figure: "Figure | None" = None) -> "Figure":
    """Plot accuracy against latency and against size; a line joins the Pareto-optimal files.

    Args:
        points: records with ``name``, ``accuracy``, ``median_ms`` and ``size_bytes``.
        figure: an empty figure to draw into, such as ``plt.figure(layout="constrained")``, which pyplot shows; None for
            a new one, which pyplot does not manage.

    Returns:
        The figure.

    Raises:
        ValueError: for no point, or a figure that is not empty.
        TypeError: for a figure that is not Matplotlib's.

    Examples:
        >>> from types import SimpleNamespace as Point
        >>> small = Point(name="int8", accuracy=0.94, median_ms=0.1, size_bytes=350_000)
        >>> large = Point(name="float32", accuracy=0.95, median_ms=0.3, size_bytes=1_100_000)
        >>> [axes.get_xlabel() for axes in pareto([small, large]).axes]
        ['median latency, ms', 'size, kB']
    """
    drawn = list(points)
    if not drawn:
        raise ValueError("points: expected at least one, got none")
    costs = {
        "median latency, ms": [point.median_ms for point in drawn],
        "size, kB": [point.size_bytes / 1000 for point in drawn],
    }
    gains = [point.accuracy for point in drawn]
    return _gain_by_cost([point.name for point in drawn], "accuracy", gains, costs, figure)


def family(rows: "Iterable[_Counted]", *, figure: "Figure | None" = None) -> "Figure":
    """Plot the published accuracy of networks against their MACs and parameters; a line joins the Pareto-optimal ones.

    Args:
        rows: rows of a `tfsep.cost.Comparison`; those without an accuracy are left out.
        figure: an empty figure to draw into, such as ``plt.figure(layout="constrained")``, which pyplot shows; None for
            a new one, which pyplot does not manage.

    Returns:
        The figure.

    Raises:
        ValueError: for no row with an accuracy, or a figure that is not empty.
        TypeError: for a figure that is not Matplotlib's.

    Examples:
        >>> from tfsep.cost import compare
        >>> [axes.get_xlabel() for axes in family(compare().rows).axes]
        ['MACs, millions', 'parameters, millions']
    """
    drawn = [(row, row.top1) for row in rows if row.top1 is not None]
    if not drawn:
        raise ValueError("rows: expected at least one with a published accuracy, got none")
    costs = {
        "MACs, millions": [row.macs / 1e6 for row, _ in drawn],
        "parameters, millions": [row.params / 1e6 for row, _ in drawn],
    }
    gains = [top1 for _, top1 in drawn]
    return _gain_by_cost([row.name for row, _ in drawn], "published ImageNet top-1, %", gains, costs, figure)


def _gain_by_cost(
    names: Sequence[str],
    label: str,
    gains: Sequence[float],
    costs: dict[str, list[float]],
    figure: "Figure | None",
) -> "Figure":
    """Points by name, their gain over each of two costs, and the front of those that no other beats."""
    from matplotlib.ticker import LogLocator

    figure = empty_figure(figure, (11.6, 4.4))
    for axes, (axis, cost) in zip(figure.subplots(1, 2, sharey=True), costs.items(), strict=True):
        best = pareto_front(cost, gains)
        axes.plot([cost[i] for i in best], [gains[i] for i in best], color="0.6", zorder=1, label="_front")
        for i, name in enumerate(names):
            marker = MARKERS[i // 10 % len(MARKERS)]
            face = f"C{i}" if i in best else "white"
            axes.scatter(cost[i], gains[i], s=60, ec=f"C{i}", fc=face, lw=2, zorder=2, label=name, marker=marker)
        axes.set(xlabel=axis)
        if max(cost) > 10 * min(cost):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter("")
        else:
            axes.set_xlim(0, 1.1 * max(cost))
        axes.grid(alpha=0.3)
    first = figure.axes[0]
    first.set_ylabel(label)
    first.margins(y=0.15)
    handles, shown = first.get_legend_handles_labels()
    figure.legend(handles, shown, loc="outside right upper", title="filled: no other beats it")
    return figure


def pareto_front(cost: Sequence[float], gain: Sequence[float]) -> list[int]:
    """Return the indices of the Pareto-optimal points, by cost: no other point costs at most as much and gains more.

    Args:
        cost: cost of each point, less is better.
        gain: gain of each point, more is better.

    Examples:
        >>> pareto_front([3, 1, 2], [0.9, 0.8, 0.7])
        [1, 0]
    """
    chosen: list[int] = []
    for i in sorted(range(len(cost)), key=lambda i: (cost[i], -gain[i])):
        if not chosen or gain[i] > gain[chosen[-1]]:
            chosen.append(i)
    return chosen


class _Sensitivity(Protocol):
    """Operations with ``name``, ``error`` and ``same_class``, and the error of all together."""

    @property
    def rows(self) -> Sequence[Any]: ...
    @property
    def error(self) -> float: ...


def sensitivity(report: _Sensitivity, most: int = 40, *, figure: "Figure | None" = None) -> "Figure":
    """Plot the relative error of the outputs that each operation alone in int8 makes, beside that of all together.

    Behind each bar is the share of samples whose class changes, where the outputs are classes.

    Args:
        report: what `tfsep.quantize.sensitivity` returns.
        most: most operations, of those that cost most.
        figure: an empty figure to draw into, such as ``plt.figure(layout="constrained")``, which pyplot shows; None for
            a new one, which pyplot does not manage.

    Returns:
        The figure.

    Raises:
        ValueError: for no operation that costs anything, or a figure that is not empty.
        TypeError: for a figure that is not Matplotlib's.

    Examples:
        >>> from types import SimpleNamespace as Record
        >>> rows = [Record(name="conv", error=0.03, same_class=0.98), Record(name="dense", error=0.001, same_class=1.0)]
        >>> [text.get_text() for text in sensitivity(Record(rows=rows, error=0.04)).axes[0].texts]
        ['2.0 %', '0.0 %']
    """
    from matplotlib.ticker import NullFormatter

    drawn = [row for row in report.rows if row.error > 0][:most]
    if not drawn:
        raise ValueError("report: expected an operation whose error is not 0, got none")
    figure = empty_figure(figure, (8, 1.2 + 0.22 * len(drawn)))
    axes = figure.subplots()
    bars = axes.barh([str(place) for place in range(len(drawn))], [row.error for row in drawn], height=0.7)
    changed = ["" if row.same_class is None else f"{100 * (1 - row.same_class):.1f} %" for row in drawn]
    axes.bar_label(bars, changed, padding=3, fontsize=8)
    axes.axvline(report.error, color="0.4", ls="--", lw=1, label="all in int8")
    axes.set_yticks(range(len(drawn)), [row.name for row in drawn], fontsize=8)
    axes.invert_yaxis()
    of_classes = ", and share of classes that change" if any(changed) else ""
    axes.set(xscale="log", xlabel=f"relative error of the outputs, one operation in int8{of_classes}")
    # From a whole power of ten on, as numbers between them would overlap, with room for the shares.
    shown = [*(row.error for row in drawn), report.error]
    axes.set_xlim(10 ** floor(log10(min(shown))), 2 * max(shown))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(y=0.02)
    axes.grid(alpha=0.3, axis="x")
    figure.legend(loc="outside upper right")
    return figure
