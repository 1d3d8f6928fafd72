"""Names of layers that a model does not have."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches


class UnknownLayersError(ValueError):
    """Names of layers that a model does not have.

    Args:
        names: the names.
        known: those that it has.
        argument: the argument that they were given in.

    Examples:
        >>> str(UnknownLayersError(["frist"], {"first", "last"}, "keep_float"))
        "keep_float: expected names of the model's layers, got 'frist'; the nearest is 'first'"
    """

    def __init__(self, names: Collection[str], known: Collection[str], argument: str) -> None:
        self.names, self._known = tuple(names), known
        nearest = get_close_matches(self.names[0], sorted(known), 1, 0)
        hint = f"; the nearest is {nearest[0]!r}" if nearest else ""
        listed = ", ".join(map(repr, self.names))
        super().__init__(f"{argument}: expected names of the model's layers, got {listed}{hint}")

    def of(self, argument: str) -> "UnknownLayersError":
        """Return the same error of another argument."""
        return UnknownLayersError(self.names, self._known, argument)


def require_known(names: Iterable[str], known: Collection[str], argument: str) -> None:
    """Raise for names that a model does not have.

    Raises:
        UnknownLayersError: if there is one.

    Examples:
        >>> require_known(["a"], {"a", "b"}, "keep_float")
    """
    if unknown := [name for name in names if name not in known]:
        raise UnknownLayersError(unknown, known, argument)
