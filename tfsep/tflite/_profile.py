"""Profile: the time of a file operator by operator, beside its MACs."""

from dataclasses import dataclass
from os import PathLike
from typing import NamedTuple

import numpy as np

from tfsep._flatbuffer.reader import operator_name, read_tflite
from tfsep._utils.arguments import number_in_range, positive_int
from tfsep._utils.table import Table
from tfsep.cost._open_sizes import computed_sizes
from tfsep.cost._tflite_file import operator_macs
from tfsep.tflite._benchmark import benchmark, time_contents
from tfsep.tflite._single_operator import single_operators


class ProfileRow(NamedTuple):
    """One operator.

    Attributes:
        number: place in the file.
        operator: name of its kind.
        name: name of its output.
        ms: median time, timed by itself.
        time_share: share of the sum over the operators.
        macs: multiply-accumulates for one sample.
        macs_share: share of the sum over the operators.
    """

    number: int
    operator: str
    name: str
    ms: float
    time_share: float
    macs: int
    macs_share: float

    @property
    def ratio(self) -> float | None:
        """The share of the time over the share of the MACs; None without MACs."""
        return self.time_share / self.macs_share if self.macs_share else None


@dataclass(frozen=True)
class ProfileReport:
    """A file, operator by operator.

    Attributes:
        path: path of the file.
        threads: number of LiteRT's threads.
        rows: an operator each, in the order of execution.
        whole_ms: median time of the file as a whole.
    """

    path: str
    threads: int
    rows: tuple[ProfileRow, ...]
    whole_ms: float

    @property
    def sum_ms(self) -> float:
        """The sum of the operators' times."""
        return sum(row.ms for row in self.rows)

    def table(self) -> Table:
        """Return a row for each operator, and their sum."""
        headers = ("op", "operator", "name", "ms", "time", "MACs", "of MACs", "time / MACs")
        rows = [
            (
                *(row.number, row.operator, row.name, f"{row.ms:.4f}", f"{row.time_share:.1%}"),
                *(row.macs, f"{row.macs_share:.1%}", "" if row.ratio is None else f"{row.ratio:.2f}"),
            )
            for row in self.rows
        ]
        total = (None, "sum", "", f"{self.sum_ms:.4f}", "", sum(row.macs for row in self.rows), "", "")
        return Table(headers, [*rows, total])

    def __str__(self) -> str:
        """Return the table and a note on its times as text."""
        note = (
            f"Each operator was timed as a file of its own, {self.threads} thread{'s'[: self.threads != 1]}; "
            f"the file as a whole takes {self.whole_ms:.4f} ms."
        )
        return f"{self.table().text()}\n\n{note}"


def profile(path: str | PathLike[str], threads: int = 1, *, runs: int = 50, warmup: int = 10) -> ProfileReport:
    """Time a file operator by operator, and list the times beside the MACs.

    Each operator becomes a file of its own, with its weights, and these run one after the other in the file's order, as
    LiteRT's Python package has no times of the operators inside a file. What a delegate saves by fusing operators is
    not in these times; the time of the file as a whole is listed beside their sum. Of a file for any batch one sample
    is timed, without the operators that only compute sizes.

    Args:
        path: path of the ``.tflite`` file.
        threads: number of LiteRT's threads; XNNPACK, its default on CPUs, is on.
        runs: number of timed runs of each operator.
        warmup: number of runs of each before these, which are not timed.

    Returns:
        A row for each operator.

    Raises:
        FileNotFoundError, ValueError, TypeError: if there is no such file, it is damaged, or a number is out of range.

    Source: the cost table is `tfsep.cost.cost` of the file.

    Examples:
        >>> from tfsep import tflite
        >>> model = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.Conv2D(4, 3)])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = profile(tflite.export(model, f"{folder}/model.tflite").path, runs=3)
        >>> [(row.operator, row.macs, row.time_share) for row in report.rows]
        [('CONV_2D', 5184, 1.0)]
    """
    count, runs, warmup = (
        positive_int(threads, "threads"),
        positive_int(runs, "runs"),
        number_in_range(warmup, "warmup", int, 0),
    )
    content, model = read_tflite(path)
    whole = benchmark(path, count, runs=runs, warmup=warmup).median_ms
    macs = operator_macs(content, model)  # which gives the tensors of a file for any batch their shapes
    files = single_operators(model, computed_sizes(content, model))
    contents = [np.frombuffer(content, np.uint8) for content in files.values()]
    times = np.median(time_contents(contents, [count], runs, warmup)[:, 0], axis=1) if contents else np.empty(0)
    all_macs, all_ms = sum(macs.values()), float(times.sum())
    graph = model.subgraphs[0]
    rows = []
    for place, ms in zip(files, times, strict=True):
        op = graph.operators[place]
        name = graph.tensors[op.outputs[0]].name.decode(errors="replace").split(";")[0] if len(op.outputs) else ""
        own = macs.get(place, 0)
        rows.append(
            ProfileRow(
                place,
                operator_name(model, op),
                name,
                float(ms),
                float(ms) / all_ms if all_ms else 0.0,
                own,
                own / all_macs if all_macs else 0.0,
            )
        )
    return ProfileReport(str(path), count, tuple(rows), whole)
