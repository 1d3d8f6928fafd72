"""All problems of a command in one message, found before the work begins."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfsep._utils.arguments import as_found
from tfsep._utils.atomic_files import require_place

_SETS = "fashion_mnist", "fashion_scenes"


class Problems:
    """Errors of checks that do not depend on each other.

    Examples:
        >>> problems = Problems()
        >>> for name in ("epochs", "seed"):
        ...     with problems.collected():
        ...         raise ValueError(f"{name}: expected an int, got None")
        >>> problems.tell()
        Traceback (most recent call last):
        ValueError: epochs: expected an int, got None; seed: expected an int, got None
    """

    def __init__(self) -> None:
        self._found: list[Exception] = []

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Remember an error of the block, and go on behind it."""
        try:
            yield
        except (ValueError, TypeError, OSError, ImportError) as error:
            self._found.append(error)

    def tell(self) -> None:
        """Raise the error that was found, or one of all of them.

        Raises:
            ValueError: for several.
        """
        if len(self._found) == 1:
            raise self._found[0]
        if self._found:
            raise ValueError("; ".join(str(error) for error in self._found))

    def require_sources(self, **sources: str | None) -> None:
        """Note data that do not exist.

        Args:
            **sources: values of options, by their names; None where they are not given.
        """
        for argument, source in sources.items():
            with self.collected():
                if source is not None and source not in _SETS and not Path(source).exists():
                    raise FileNotFoundError(
                        f"{argument}: expected a name or path of data, got {as_found(Path(source))}"
                    )

    def require_folders(self, **folders: Path | None) -> None:
        """Note folders that cannot be made or written to.

        Args:
            **folders: values of options, by their names; None where they are not given.
        """
        for argument, folder in folders.items():
            with self.collected():
                if folder is not None:
                    require_place(folder / "README.md", argument)
