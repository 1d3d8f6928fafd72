"""Recipes: how a file stores numbers and computes with them, as data."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from tfsep._utils.arguments import positive_number


class ConverterFlags(NamedTuple):
    """Settings of ``tf.lite.TFLiteConverter`` for one pair of types.

    Attributes:
        optimize: whether ``optimizations`` is ``[tf.lite.Optimize.DEFAULT]``.
        supported_types: supported types of ``target_spec``; empty for the converter's default.
        operators: name of the ``tf.lite.OpsSet`` of a calibrated file.
        interfaces: types that the file's floating inputs and outputs may have.
    """

    optimize: bool
    supported_types: tuple[str, ...]
    operators: str
    interfaces: tuple[str, ...]


_INT16X8 = "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"

CONVERTER_FLAGS = {
    ("float32", "float32"): ConverterFlags(False, (), "TFLITE_BUILTINS", ("float32",)),
    ("float16", "float32"): ConverterFlags(True, ("float16",), "TFLITE_BUILTINS", ("float32",)),
    ("int8", "float32"): ConverterFlags(True, (), "TFLITE_BUILTINS", ("float32",)),
    ("int8", "int8"): ConverterFlags(True, (), "TFLITE_BUILTINS_INT8", ("int8", "uint8", "float32")),
    ("int8", "int16"): ConverterFlags(True, (), _INT16X8, ("int16", "float32")),
}
"""By types of weights and activations, the pairs that a recipe may combine."""

MAX_CALIBRATION_SAMPLES = 500
"""Most samples to measure ranges on, where the caller gives no number. It stands here because help names it: nothing is
imported for it."""


@dataclass(frozen=True)
class Recipe:
    """Types and tolerance of a file, and with them the converter's flags.

    Attributes:
        name: name that `export` takes and reports have.
        summary: description in one line.
        weights: type in which weights are stored: ``"float32"``, ``"float16"`` or ``"int8"``.
        activations: type in which activations are computed: ``"float32"``, ``"int8"`` or ``"int16"``.
        interface: type of the file's floating inputs and outputs: that of the activations, ``"float32"``, or
            ``"uint8"`` for activations in int8.
        needs_calibration: whether ranges of activations have to be measured on data, as integer ones have.
        tolerance: default of the largest relative RMS error of outputs and of their channels, that of rounding alone in
            most networks, measured beside `RECIPES`. A file of a recipe in `RECIPES` that is further off is kept as
            lossy where nothing but rounding is found, and half a step of integer outputs is added, for those that vary
            by few steps. The tolerance of another recipe holds as it is.

    Raises:
        ValueError: for types that no converter combines, or a tolerance that is not greater than zero.

    Examples:
        >>> from dataclasses import replace
        >>> replace(RECIPES["int8"], name="int8_float_io", interface="float32").needs_calibration
        True
        >>> replace(RECIPES["int8"], weights="int4")
        Traceback (most recent call last):
        ValueError: weights: expected one of float32, float16, int8, got 'int4'
    """

    name: str
    summary: str
    weights: str
    activations: str
    interface: str
    needs_calibration: bool
    tolerance: float

    def __post_init__(self) -> None:
        """Refuse nonsense, when the record is made."""
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"name: expected a text, got {self.name!r}")
        _require_one_of("weights", self.weights, [weights for weights, _ in CONVERTER_FLAGS])
        fitting = [activations for weights, activations in CONVERTER_FLAGS if weights == self.weights]
        _require_one_of("activations", self.activations, fitting, f" for weights in {self.weights}")
        interfaces = self.converter_flags.interfaces
        _require_one_of("interface", self.interface, interfaces, f" for activations in {self.activations}")
        if self.needs_calibration is not self.has_integer_activations:
            raise ValueError(
                f"needs_calibration: expected {self.has_integer_activations} for activations in {self.activations}, "
                f"got {self.needs_calibration!r}"
            )
        positive_number(self.tolerance, "tolerance")

    def with_io(self, io: str | None) -> "Recipe":
        """Return this recipe with another type of inputs and outputs; None for its own.

        Args:
            io: one of the interfaces that its activations take, see `interface`.

        Raises:
            ValueError: for another type.

        Examples:
            >>> RECIPES["int16x8"].with_io("float32").interface
            'float32'
            >>> RECIPES["float16"].with_io("uint8")
            Traceback (most recent call last):
            ValueError: io: expected float32 for recipe 'float16', got 'uint8'
        """
        if io is None:
            return self
        interfaces = self.converter_flags.interfaces
        if io not in interfaces:
            names = " or ".join(filter(None, [", ".join(interfaces[:-1]), interfaces[-1]]))
            raise ValueError(f"io: expected {names} for recipe {self.name!r}, got {io!r}")
        return replace(self, interface=io)

    @property
    def has_integer_activations(self) -> bool:
        """Whether activations are computed in integers."""
        return self.activations.startswith("int")

    @property
    def converter_flags(self) -> ConverterFlags:
        """Settings of the converter."""
        return CONVERTER_FLAGS[self.weights, self.activations]


def _require_one_of(argument: str, given: str, names: Iterable[str], condition: str = "") -> None:
    if given not in (known := tuple(dict.fromkeys(names))):
        raise ValueError(f"{argument}: expected one of {', '.join(known)}{condition}, got {given!r}")


def _row(name: str, weights: str, activations: str, tolerance: float, summary: str) -> Recipe:
    """A recipe whose inputs and outputs have the type of its activations; integers are calibrated."""
    return Recipe(name, summary, weights, activations, activations, activations != "float32", tolerance)


# The relative errors that rounding alone makes, measured: RMS of the whole output, and of the worst channel of 24 small
# networks with random weights (benchmarks/verification.csv). The tolerance of each recipe is above them.
#
#                shipped model,   MobileNet v1 of full   Google's of width 0.25,   24 networks,
#                trained          width, untrained       rounded once more         worst channel
# float32        2e-7             1e-6                   1e-5                      2e-5
# float16        6e-4             0.01                   0.03                      0.02
# dynamic_int8   0.007            0.15                   0.21                      0.02
# int8           0.024            0.26                   0.33                      0.55, of two lossy ones
# int16x8        0.016            0.17                   0.27                      0.40, of a lossy one
#
# No tolerance tells rounding from damage: int8 files of deep, untrained networks reach 0.8, and the smallest errors of
# damaged files, in the same table, are 0.03 in float32 (a kernel 5 % larger) and, in int8, those of the whole file (a
# rectifier left out). So a larger error is a lossy file where `_proof.py` finds nothing but rounding. What it measures
# lies far apart. Without rounding, faithful files are off by up to 2e-5 of a channel's deviation, those with other
# operators by 0.4 or more. Operators in integers are off by up to 0.3 of what passes, or by 20 times that; RSQRT in
# int16, which LiteRT interpolates, by anything between.
#
# Ranges lie close together: one that was cut to 0.6 may be one that few samples made. So samples past a range are
# counted, and judged by the share of those past the ranges of the other tensors. Of 359 int8 and int16x8 files of 22
# networks, calibrated on 4 to 128 samples, with outliers or on darker images, 2 are too unlikely; by half the samples
# at 1.2 of a range, 15 would be. Found of 8 activations each of networks of attention, convolutions, residual sums,
# gates and swish, calibrated on 32 samples and verified on others or the same, with a scale times s:
#
# s                          0.8       0.7       0.6       0.5       2 or 4
# int8, of 39                15, 17    21, 26    29, 33    34, 37    8, 8
# int16x8, of 31             11, 11    15, 16    22, 26    29, 29    10, 10
#
# A zero point off by 1, 3 or 10 is found in 0, 7 and 7 of 39. What is not found has numbers past its range in few
# samples, and channels off by up to 0.9 of their deviation for 0.6, as calibration on few samples has them; or steps
# that are coarser than they need be, with hardly an error.
RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        _row("float32", "float32", "float32", 1e-4, "all in float32"),
        _row("float16", "float16", "float32", 0.05, "weights stored in float16, half the size"),
        _row(
            *("dynamic_int8", "int8", "float32", 0.3),
            "weights in int8, activations quantized as they come, a quarter of the size",
        ),
        _row(
            *("int8", "int8", "int8", 0.4),
            "all in int8, inputs and outputs too: for phones' DSPs, NPUs and microcontrollers",
        ),
        _row("int16x8", "int8", "int16", 0.4, "activations in int16 and weights in int8"),
    )
}
"""The recipes that `export` and the command know by name; `Recipe.summary` tells what each is.

A new recipe is a row here, behind those of the same types, of which the first gives the tolerance of a file that does
not say its recipe (`recipe_of_types`). It combines a pair of types that `CONVERTER_FLAGS` has, one of that pair's
interfaces, and a tolerance; for other inputs and outputs alone, `Recipe.with_io` takes no row. A new type, such as
int4, takes more: its pairs in `CONVERTER_FLAGS`; its storage in `tfsep/_flatbuffer/`; its rounding in
`_weight_check.py`; its recognition in a file in `_verify.py`; and, as a type of inputs and outputs, the code that fills
them in `_convert/_snippets.py`.
"""


def get_recipe(recipe: str | Recipe) -> Recipe:
    """Return a recipe by name; a `Recipe` is returned as it is.

    Args:
        recipe: a name in `RECIPES`, or a recipe of one's own.

    Raises:
        ValueError: if there is none of that name.

    Examples:
        >>> get_recipe("int8").needs_calibration
        True
    """
    if isinstance(recipe, Recipe):
        return recipe
    try:
        return RECIPES[recipe]
    except (KeyError, TypeError):
        raise ValueError(f"recipe: expected one of {', '.join(RECIPES)}, got {recipe!r}") from None


def recipe_of_types(weights: str, activations: str) -> Recipe:
    """Return the first recipe of `RECIPES` with these types, or of these activations where no weights fit.

    Examples:
        >>> recipe_of_types("int8", "int16").name
        'int16x8'
    """
    alike = [recipe for recipe in RECIPES.values() if recipe.activations == activations]
    return next((recipe for recipe in alike if recipe.weights == weights), alike[0])
