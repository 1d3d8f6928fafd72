"""Folders made for what is written, and files that are written whole or not at all."""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from tfsep._utils.arguments import as_path

_WORDS = "partial", "kept"
_LEFT_BEHIND = re.compile(rf"\.(?:{'|'.join(_WORDS)})-(\d+)-")


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
def placed(targets: Sequence[Path], argument: str) -> Iterator[tuple[Path, ...]]:
    """Yield temporary names for files of one folder; all get their own names if the block succeeds, none if not.

    What had those names before is kept until all have them, and is put back if one cannot. A process that is killed
    leaves each file as it was or as it will be, and perhaps temporary ones, which the next one that writes the same
    file takes away.

    Raises:
        OSError: if the folder does not take a file; the message starts with `argument`.
    """
    _sweep(targets)
    partial, kept = (
        tuple(target.with_name(f".{word}-{os.getpid()}-{target.name}") for target in targets) for word in _WORDS
    )
    done = []
    try:
        yield partial
        for target, copy in zip(targets, kept, strict=True):
            # One file alone is in its place or is not.
            if target.is_file() and len(targets) > 1:
                shutil.copyfile(target, copy)
        for temporary, target in zip(partial, targets, strict=True):
            temporary.replace(target)
            done.append(target)
    except OSError as error:
        for target, copy in zip(targets, kept, strict=True):
            if target in done:
                copy.replace(target) if copy.is_file() else target.unlink()
        reason = error.strerror or str(error)
        names = ", ".join(target.name for target in targets)
        raise OSError(
            f"{argument}: expected a folder that takes {names}, got {targets[0].parent} ({reason})"
        ) from error
    finally:
        for temporary in (*partial, *kept):
            temporary.unlink(missing_ok=True)


def _sweep(targets: Sequence[Path]) -> None:
    """Take away temporary files of these names that processes left which are no more."""
    names = {target.name for target in targets}
    for path in targets[0].parent.glob(".*"):
        found = _LEFT_BEHIND.match(path.name)
        if found and path.name[found.end() :] in names and not _is_alive(int(found[1])):
            path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


@contextmanager
def replacing(path: Path, argument: str) -> Iterator[Path]:
    """Give a path to write to, and put what was written there in the place of `path`, at once: `placed` of one file.

    Raises:
        OSError: as `placed`.

    Examples:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(Path(folder, "a.txt"), "folder") as partial:
        ...         _ = partial.write_text("all of it")
        ...     Path(folder, "a.txt").read_text()
        'all of it'
    """
    with placed([path], argument) as (partial,):
        yield partial
