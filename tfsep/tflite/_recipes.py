"""Recipes: how a file stores numbers and computes with them, as data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """One way to make a file.

    Attributes:
        name: what `export` is given.
        summary: what it does, in one line.
        weights, activations: types that weights are stored in and activations are computed in.
        interface: type of the file's floating inputs and outputs.
        needs_calibration: whether ranges of activations have to be measured on data.
        tolerance: largest relative RMS error of verification, unless told otherwise: above what rounding alone brings
            to deep networks, trained and untrained (for the shipped one 2e-7, 6e-4, 0.007, 0.024 and 0.016, in the
            order of `RECIPES`; for an untrained one of full width 1e-6, 0.01, 0.15, 0.26 and 0.17; for
            Google's of width 0.25, rounded once more, 1e-5, 0.03, 0.21, 0.33 and 0.27), and under what a wrong
            operator shows, whose error is of the order of 1. Wrong weights are seen by themselves.
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
        if not self.tolerance > 0:
            raise ValueError(f"tolerance: expected a number greater than zero, got {self.tolerance!r}")


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("float32", "all in float32", "float32", "float32", "float32", False, 1e-4),
        Recipe("float16", "weights stored in float16, half the size", "float16", "float32", "float32", False, 0.05),
        Recipe(
            "dynamic_int8",
            "weights in int8, activations quantized as they come, a quarter of the size",
            "int8",
            "float32",
            "float32",
            False,
            0.3,
        ),
        Recipe(
            "int8",
            "all in int8, inputs and outputs too: for phones' DSPs, NPUs and microcontrollers",
            "int8",
            "int8",
            "int8",
            True,
            0.4,
        ),
        Recipe("int16x8", "activations in int16 and weights in int8", "int8", "int16", "int16", True, 0.4),
    )
}


def get_recipe(name: str) -> Recipe:
    """Return a recipe by name.

    Raises:
        ValueError: if there is none of that name.

    Examples:
        >>> get_recipe("int8").needs_calibration
        True
    """
    try:
        return RECIPES[name]
    except (KeyError, TypeError):
        raise ValueError(f"recipe: expected one of {', '.join(RECIPES)}, got {name!r}") from None
