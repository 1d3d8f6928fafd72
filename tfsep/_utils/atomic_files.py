"""Output folders, and files that are written completely or not at all."""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path

from tfsep._utils.arguments import as_found, as_path
from tfsep._utils.operating_system import is_running, replace_file

_PREFIXES = "partial", "kept"
_LEFTOVER = re.compile(rf"\.(?:{'|'.join(_PREFIXES)})-(\d+)-")


def make_folder(path: str | PathLike[str], argument: str) -> Path:
    """Make a folder and its parents, if they do not exist, and return it.

    Args:
        path: path of the folder.
        argument: name of the argument, which an error starts with.

    Raises:
        TypeError: for what is no path.
        OSError: if the folder cannot be made.
    """
    folder = as_path(path, argument)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{argument}: expected a folder that can be made, got {folder} ({error.strerror})") from error
    return folder


def require_place(path: Path, argument: str) -> None:
    """Raise unless a file can be written there, in a folder that exists or can be made.

    Args:
        path: path of the file.
        argument: name of the argument, which an error starts with.

    Raises:
        OSError: if there is a folder of its name, or no folder that takes it.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{argument}: expected a file, got {as_found(path)}")
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(f"{argument}: expected a folder that can be made, got {path.parent} in a file")
    if not os.access(nearest, os.W_OK):
        raise PermissionError(f"{argument}: expected a folder that can be written to, got {path.parent}")


@contextmanager
def parents_made(path: Path, argument: str) -> Iterator[None]:
    """Make the folders that a file is to be in; those that are new are removed again if the block fails.

    Args:
        path: path of the file.
        argument: name of the argument, which an error starts with.

    Raises:
        OSError: if they cannot be made.
    """
    new = [folder for folder in path.absolute().parents if not folder.exists()]
    make_folder(path.parent, argument)
    try:
        yield
    except BaseException:
        for folder in new:
            with suppress(OSError):  # what another process has put there stays
                folder.rmdir()
        raise


@contextmanager
def atomic_files(targets: Sequence[Path], argument: str) -> Iterator[tuple[Path, ...]]:
    """Yield temporary paths for files of one folder; they are renamed to the targets if the block succeeds.

    Existing targets are backed up until all files are renamed, and restored if a rename fails. If the process is
    killed, each target is either the old file or the new one; temporary files that it left are removed by the next
    writer of the same target.

    Args:
        targets: the files to write, all in one folder.
        argument: name of the argument, which an error starts with.

    Raises:
        OSError: if the folder does not take a file.
    """
    _remove_leftovers(targets)
    partial, backups = (
        tuple(target.with_name(f".{prefix}-{os.getpid()}-{target.name}") for target in targets) for prefix in _PREFIXES
    )
    done = []
    try:
        yield partial
        for target, backup in zip(targets, backups, strict=True):
            # A single file needs no backup: its rename is atomic.
            if target.is_file() and len(targets) > 1:
                shutil.copyfile(target, backup)
        for temporary, target in zip(partial, targets, strict=True):
            replace_file(temporary, target)
            done.append(target)
    except OSError as error:
        for target, backup in zip(targets, backups, strict=True):
            if target in done:
                replace_file(backup, target) if backup.is_file() else target.unlink()
        reason = error.strerror or str(error)
        names = ", ".join(target.name for target in targets)
        raise OSError(
            f"{argument}: expected a folder that takes {names}, got {targets[0].parent} ({reason})"
        ) from error
    finally:
        for temporary in (*partial, *backups):
            temporary.unlink(missing_ok=True)


def _remove_leftovers(targets: Sequence[Path]) -> None:
    """Remove temporary files of these targets whose process has ended."""
    names = {target.name for target in targets}
    for path in targets[0].parent.glob(".*"):
        found = _LEFTOVER.match(path.name)
        if found and path.name[found.end() :] in names and not is_running(int(found[1])):
            path.unlink(missing_ok=True)


@contextmanager
def atomic_file(path: Path, argument: str) -> Iterator[Path]:
    """Yield a temporary path for one file; it is renamed to `path` if the block succeeds.

    Args:
        path: the file to write.
        argument: name of the argument, which an error starts with.

    Raises:
        OSError: if the folder does not take the file.

    Examples:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_file(Path(folder, "a.txt"), "folder") as partial:
        ...         _ = partial.write_text("complete")
        ...     Path(folder, "a.txt").read_text()
        'complete'
    """
    with atomic_files([path], argument) as (partial,):
        yield partial
