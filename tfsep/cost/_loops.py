"""The number of rounds of a loop, from the whole numbers and conditions that its graphs compute with."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

_MOST_ROUNDS = 20_000
_LARGEST = 2**63

Key = Hashable
"""A tensor of a graph."""

ARITHMETIC: dict[str, tuple[int, Callable[..., int]]] = {
    "add": (2, lambda a, b: a + b),
    "cast": (1, lambda a: a),
    "equal": (2, lambda a, b: a == b),
    "floordiv": (2, lambda a, b: a // b if b else _LARGEST),
    "greater": (2, lambda a, b: a > b),
    "greaterequal": (2, lambda a, b: a >= b),
    "identity": (1, lambda a: a),
    "less": (2, lambda a, b: a < b),
    "lessequal": (2, lambda a, b: a <= b),
    "logicaland": (2, lambda a, b: a and b),
    "logicalnot": (1, lambda a: not a),
    "logicalor": (2, lambda a, b: a or b),
    "max": (1, lambda a: a),  # of one number
    "maximum": (2, max),
    "min": (1, lambda a: a),
    "minimum": (2, min),
    "mul": (2, lambda a, b: a * b),
    "notequal": (2, lambda a, b: a != b),
    "reducemax": (1, lambda a: a),
    "reducemin": (1, lambda a: a),
    "reshape": (1, lambda a: a),
    "squeeze": (1, lambda a: a),
    "sub": (2, lambda a, b: a - b),
}
"""Operators by name, in lower case without underscores: the number of inputs that count, and what is computed."""


class Step(NamedTuple):
    """An operator on numbers.

    Attributes:
        name: name of the operator.
        inputs: tensors that it reads.
        output: tensor that it makes.
    """

    name: str
    inputs: Sequence[Key]
    output: Key


class Numbers:
    """The part of a graph that computes with single whole numbers and conditions.

    Args:
        steps: the operators of the graph in the order of execution; those that `ARITHMETIC` lacks are left out.
        constants: the graph's constants of one number.
        inputs: the graph's inputs.
        outputs: the graph's outputs.
    """

    def __init__(
        self, steps: Iterable[Step], constants: Mapping[Key, int], inputs: Sequence[Key], outputs: Sequence[Key]
    ) -> None:
        named = ((ARITHMETIC.get(step.name.lower().replace("_", "").removesuffix("v2")), step) for step in steps)
        self._steps = [(*found, step) for found, step in named if found is not None]
        self._constants, self._inputs, self._outputs = constants, inputs, outputs

    def __call__(self, values: Sequence[int | None]) -> list[int | None]:
        """Return the outputs for these inputs; None for what is not known."""
        known = dict(self._constants)
        known.update((key, value) for key, value in zip(self._inputs, values, strict=False) if value is not None)
        for arity, function, step in self._steps:
            given = step.inputs[:arity]
            if len(given) == arity and all(key in known for key in given):
                result = function(*(known[key] for key in given))
                if abs(result) < _LARGEST:
                    known[step.output] = result
        return [known.get(key) for key in self._outputs]


def rounds(condition: Numbers, body: Numbers, start: Sequence[int | None]) -> int | None:
    """Return how often a loop runs its body; None where that depends on more than numbers in the file.

    Args:
        condition: graph whose one output says whether another round follows.
        body: graph from the loop's variables to their next values.
        start: first values of the loop's variables; None for those that are not known.

    Examples:
        >>> below = Numbers([Step("Less", ["i", "n"], "more")], {"n": 5}, ["i"], ["more"])
        >>> by_two = Numbers([Step("AddV2", ["i", "two"], "next")], {"two": 2}, ["i"], ["next"])
        >>> rounds(below, by_two, [0]), rounds(below, by_two, [None])
        (3, None)
    """
    values = list(start)
    for count in range(_MOST_ROUNDS):
        goes_on = condition(values)[0]
        if goes_on is None:
            return None
        if not goes_on:
            return count
        values = body(values)
    return None
