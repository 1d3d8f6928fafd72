"""Folders made for what is written, and files that are written whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from tfsep._arguments import as_path


def made_folder(path: str | PathLike[str], argument: str) -> Path:
    """Return a folder that exists, made with its parents if need be.

    Raises:
        TypeError: if `path` is none; the message starts with `argument`.
        OSError: if it cannot be made; the message starts with `argument`.
    """
    folder = as_path(path, argument)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{argument}: expected a folder that can be made, got {folder} ({error.strerror})") from error
    return folder


@contextmanager
def replacing(path: Path, argument: str) -> Iterator[Path]:
    """Give a path to write to, and put what was written there in the place of `path`, at once, if all went well.

    Whoever is killed at any moment leaves the old file or the new one under the name; a partial one has another.

    Raises:
        OSError: if the file cannot be written; the message starts with `argument`.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(Path(folder, "a.txt"), "folder") as partial:
        ...         _ = partial.write_text("all of it")
        ...     Path(folder, "a.txt").read_text()
        'all of it'
    """
    partial = path.with_name(f".partial-{path.name}")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(f"{argument}: expected a folder that takes {path.name}, got {path.parent} ({reason})") from error
    finally:
        partial.unlink(missing_ok=True)
