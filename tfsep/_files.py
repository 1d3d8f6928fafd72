"""Folders made for what is written."""

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
