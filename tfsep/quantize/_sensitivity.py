"""What 8 bits cost a network, operation by operation."""

import json
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from tfsep._keras.types import Data, Model
from tfsep._utils.table import Table
from tfsep.quantize._calibrate import calibrated_once
from tfsep.quantize._calibration_report import finite, rounded
from tfsep.quantize._calibration_settings import Option, settings_of
from tfsep.quantize._config import Config
from tfsep.quantize._coverage import coverage
from tfsep.quantize._measured_parts import MeasuredParts


class SensitivityRow(NamedTuple):
    """What one operation alone in int8 changes in the outputs of the float model.

    Attributes:
        name: name of the operation, as `coverage` lists it, and as `calibrate` takes it in ``keep_float``.
        kind: the layer's class, or the function that it computes.
        sqnr: signal-to-quantization-noise ratio of the outputs, in dB; infinite where nothing differs.
        error: the same as a relative error: the root mean square of the error over that of the outputs.
        same_class: share of the samples with the same class as of the float model; None where the outputs are no rows
            of classes.
        macs: multiply-accumulates for one sample; None where sizes are open.
    """

    name: str
    kind: str
    sqnr: float
    error: float
    same_class: float | None
    macs: int | None


@dataclass(frozen=True)
class Sensitivity:
    """What 8 bits cost a network, operation by operation.

    Attributes:
        rows: a row an operation, the one that costs most first.
        sqnr: signal-to-quantization-noise ratio with all operations in int8, in dB.
        error: the same as a relative error.
        same_class: share of samples with the same class with all operations in int8; None without classes.
        samples: the number of samples.

    Examples:
        >>> row = SensitivityRow("conv", "Conv2D", 31.306, 0.02721, 0.984, 3888)
        >>> print(Sensitivity((row,), 29.1, 0.03508, 0.969, 64).to_markdown())
        | operation | kind | SQNR (dB) | relative error | same class | MACs |
        | --- | --- | ---: | ---: | ---: | ---: |
        | conv | Conv2D | 31.31 | 0.0272 | 0.984 | 3,888 |
        | all in int8 |  | 29.1 | 0.0351 | 0.969 | 3,888 |
    """

    rows: tuple[SensitivityRow, ...]
    sqnr: float
    error: float
    same_class: float | None
    samples: int

    def table(self) -> Table:
        """Return a row for each operation, and one for all together."""
        counts = [row.macs for row in self.rows]
        macs = None if None in counts else sum(count or 0 for count in counts)
        every = SensitivityRow("all in int8", "", self.sqnr, self.error, self.same_class, macs)
        return Table(
            ("operation", "kind", "SQNR (dB)", "relative error", "same class", "MACs"),
            [
                (
                    row.name,
                    row.kind,
                    round(row.sqnr, 2),
                    float(f"{row.error:.3g}"),
                    rounded(row.same_class, 4),
                    row.macs,
                )
                for row in (*self.rows, every)
            ],
        )

    def to_markdown(self) -> str:
        """Return the table as Markdown."""
        return self.table().markdown()

    def to_dict(self) -> dict[str, Any]:
        """Return the rows and the figures of all together, for JSON; None for a ratio that is infinite."""
        rows = [row._asdict() | {"sqnr": finite(row.sqnr)} for row in self.rows]
        return {**asdict(self), "rows": rows, "sqnr": finite(self.sqnr)}

    def to_json(self) -> str:
        """Return `to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def __str__(self) -> str:
        """Return the table as text."""
        return self.table().text()


def sensitivity(
    model: Model,
    data: Data,
    samples: int = 128,
    batch_size: int = 32,
    seed: int = 0,
    config: Config | None = None,
    **options: Option,
) -> Sensitivity:
    """Rank the operations of a model by what int8 costs each.

    Each operation that `coverage` lists in int8 is computed alone in integers, as the file would with all others in
    float32: what it takes, its weights and its result are rounded. Errors of single operations add up, as powers of
    noise, to nearly that of all, so that the figures can be compared. The other way, all in int8 but one, would say
    nothing where two operations are bad: either one hides what the other costs.

    Ranges and weights are those of `calibrate`. Nothing is traced: the model is computed call by call, what is in front
    of an operation once for all of them, so that n operations take the time of n / 2 predictions.

    Args:
        model: a float model that was built, trained, channels last; it is not changed.
        data: samples of its input, in any form that `calibrate` takes; it is read once.
        samples: most samples. Of more, as many are drawn at random.
        batch_size: samples per step; a model with a batch of its own takes that.
        seed: seed of that draw.
        config: the settings of `prepare`; None for `Config`'s defaults.
        **options: other arguments of `calibrate` that say how, such as ``method``, and fields of `Config`.

    Returns:
        The figures of each operation, the one that costs most first; `tfsep.plots.sensitivity` plots them.

    Raises:
        TypeError, ValueError: for what `calibrate` refuses.

    Examples:
        >>> keras.utils.set_random_seed(0)
        >>> layers = [keras.layers.Conv2D(4, 3, name="c"), keras.layers.ReLU(), keras.layers.Flatten(name="f")]
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), *layers, keras.layers.Dense(3, name="d")])
        >>> images = np.random.default_rng(0).normal(size=(16, 8, 8, 3)).astype("float32")
        >>> found = sensitivity(model, images, method="minmax")
        >>> sorted(row.name for row in found.rows), found.rows[0].sqnr > found.sqnr
        (['c', 'd', 'f'], True)
    """
    for name in ("budget", "latency"):
        if name in options:
            raise TypeError(f"{name}: expected none, which calibrate takes, got {options[name]!r}")
    given = {"samples": samples, "batch_size": batch_size, "seed": seed, "config": config}
    settings, prepared_by = settings_of({**options, **given})
    made = calibrated_once(model, data, settings, prepared_by)
    measured = MeasuredParts(made)
    covered = {row.name: row for row in coverage(made.model).rows}
    rows = [
        SensitivityRow(name, covered[name].kind, own.sqnr, own.error, own.same_class, covered[name].macs)
        for name, own in measured.alone().items()
    ]
    every = measured.together(measured.part.names)
    ordered = tuple(sorted(rows, key=lambda row: row.sqnr))
    return Sensitivity(ordered, every.sqnr, every.error, every.same_class, made.samples.count)
