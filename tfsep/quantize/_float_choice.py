"""The operations that stay in float32, so that a calibrated model agrees with the float model as is asked for."""

from collections.abc import Callable, Collection, Mapping, Sequence
from math import floor

from tfsep.quantize._calibrated_model import Calibrated
from tfsep.quantize._calibration_report import CalibrationRow
from tfsep.quantize._calibration_settings import Latency, require_numbers
from tfsep.quantize._coverage import coverage
from tfsep.quantize._covered_calls import covered_calls
from tfsep.quantize._measured_parts import MeasuredParts
from tfsep.quantize._places import Argmax
from tfsep.quantize._unknown_layers import require_known

_DIGITS = 10**4


def within_budget(
    first: Calibrated, budget: float, latency: Latency | None, again: Callable[[Sequence[str]], Calibrated]
) -> Calibrated:
    """Return a calibrated model that agrees with the float model, the least costly of those looked at.

    What is measured on the way is the one calibrated model with parts of it in real numbers; in the end a calibration
    of its own decides, and if that falls short, the next operations join.

    Args:
        first: the calibrated model with all in int8 that can be.
        budget: the least agreement.
        latency: by name, how much longer each operation takes in float32, or a function of names that returns it; None
            for its MACs and the numbers of its result, one unit each.
        again: calibrates the model with these operations in float32, too.

    Raises:
        ValueError: for an agreement that is not met with all operations but the least sensitive one in float32, or a
            latency under a name that no operation has.
    """
    if not callable(latency):
        require_known(latency or (), {own.row.name for own in covered_calls(first.model)}, "latency")
    if first.agreement >= budget:
        return first
    measured = MeasuredParts(first)
    names = measured.part.names
    if latency is None:
        macs = {row.name: row.macs or 0 for row in coverage(first.model).rows}
        latency = {name: float(macs[name] + measured.part.result_sizes[name]) for name in names}
    elif callable(latency):
        latency = latency(names)
        require_numbers(latency)
    # What only finds places is in float32 by itself where the numbers are.
    places = {own.row.name for own in covered_calls(first.model) if isinstance(own.call.operation, Argmax)}
    choice = FloatChoice(
        {name: own.error**2 for name, own in measured.alone().items() if name not in places},
        latency,
        lambda kept: measured.together([name for name in names if name not in kept]).agreement,
        budget,
    )
    kept, step = choice.cheapest(), 1
    while (made := again(kept)).agreement < budget:
        more = [name for name in choice.worst_first[:-1] if name not in kept]
        if not more:
            # With little noise in the one that is left, rounding may agree more by chance.
            all_but = f"all operations but {choice.worst_first[-1]!r}"
            best, where = max((first.agreement, "no operation"), (made.agreement, all_but))
            met = floor(best * _DIGITS) / _DIGITS
            raise ValueError(f"budget: expected at most {met}, the agreement with {where} in float32, got {budget}")
        kept, step = (*kept, *more[:step]), 2 * step
    # Behind the rows of all in int8, so that what it gains is the difference to the one in front of it.
    row = CalibrationRow(
        "float32",
        f"{', '.join(kept)}, for an agreement of {budget:g}; {first.agreement:.4f} without",
        first.report.rows[-1].after,
        made.report.rows[-1].after,
    )
    return made._replace(report=made.report._replace(rows=(*first.report.rows, row), in_float=kept))


class FloatChoice:
    """A choice of operations for float32.

    They are taken in two orders, by the noise that each adds alone and by that noise for its cost: the first ones that
    suffice, and of these each one is put back, the costliest first, that the others do not need.

    Attributes:
        worst_first: the names, by the noise that each adds alone. The last one is never chosen, as something has to be
            in integers.

    Args:
        noise: of each operation alone in int8, by name.
        cost: of each operation in float32; 0 for names that it lacks.
        agreement: of the outputs, with some operations in float32.
        budget: the least agreement.

    Examples:
        >>> noise = {"a": 4.0, "b": 3.0, "c": 0.0}
        >>> choice = FloatChoice(noise, {"a": 9, "b": 1}, lambda kept: 1.0 if set(kept) & {"a", "b"} else 0.5, 0.9)
        >>> choice.cheapest()
        ('b',)
    """

    def __init__(
        self,
        noise: Mapping[str, float],
        cost: Mapping[str, float],
        agreement: Callable[[Collection[str]], float],
        budget: float,
    ) -> None:
        self._noise, self._agreement, self._budget = noise, agreement, budget
        self._cost = {name: cost.get(name, 0.0) for name in noise}
        self.worst_first = sorted(noise, key=lambda name: -noise[name])
        self._known: dict[frozenset[str], float] = {}

    def cheapest(self) -> tuple[str, ...]:
        """Return the names, in the model's order: all but the last one where these do not suffice."""
        worst = self.worst_first[:-1]
        # What costs nothing goes by its noise, in front of the others.
        gains = {name: (not self._cost[name], self._noise[name] / (self._cost[name] or 1.0)) for name in worst}
        orders = worst, sorted(worst, key=gains.__getitem__, reverse=True)
        chosen = min(map(self._needed, orders), key=lambda names: sum(map(self._cost.__getitem__, names)))
        return tuple(name for name in self._noise if name in chosen)

    def _needed(self, order: Sequence[str]) -> set[str]:
        """The first ones in an order that suffice, without those that the others do not need."""
        if not self._suffice(order):
            return set(order)
        few, enough = 0, 1
        while not self._suffice(order[:enough]):
            few, enough = enough, 2 * enough
        while enough - few > 1:
            middle = (few + enough) // 2
            few, enough = (few, middle) if self._suffice(order[:middle]) else (middle, enough)
        chosen = set(order[:enough])
        for name in sorted(chosen, key=lambda name: (-self._cost[name], self._noise[name], name)):
            if self._suffice(chosen - {name}):
                chosen.remove(name)
        return chosen

    def _suffice(self, names: Collection[str]) -> bool:
        """Whether the agreement is met with these operations in float32."""
        key = frozenset(names)
        if key not in self._known:
            self._known[key] = self._agreement(key)
        return self._known[key] >= self._budget
