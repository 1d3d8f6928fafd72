"""Limits on ZIP archives from untrusted sources, checked before they are unpacked."""

import zipfile
from os import PathLike

_MAX_RATIO, _SLACK_BYTES = 4, 2**26
"""The contents may take this many times the archive's bytes, plus a slack; Keras does not compress its archives."""


def check_unpacked_size(path: str | PathLike[str]) -> None:
    """Refuse a ZIP archive that unpacks to far more bytes than it has, as a decompression bomb does.

    Args:
        path: path of the archive.

    Raises:
        ValueError: for such an archive.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile(suffix=".zip") as file:
        ...     zipfile.ZipFile(file, "w").close()
        ...     check_unpacked_size(file.name)
    """
    with zipfile.ZipFile(path) as archive:
        packed = sum(info.compress_size for info in archive.infolist())
        whole = sum(info.file_size for info in archive.infolist())
    if whole > _MAX_RATIO * packed + _SLACK_BYTES:
        raise ValueError(f"expected an archive of about what is in it, got {packed:,} bytes that unpack to {whole:,}")
