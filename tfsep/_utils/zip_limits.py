"""Archives of strangers, looked at before they are opened."""

import zipfile
from os import PathLike

_TIMES, _MORE = 4, 2**26
"""How much larger than its archive what is in it may be, in times and in bytes; Keras compresses nothing."""


def require_sane_size(path: str | PathLike[str]) -> None:
    """Raise a ValueError for a ZIP archive that unpacks to far more than it takes, as one that is to fill the memory.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile(suffix=".zip") as file:
        ...     zipfile.ZipFile(file, "w").close()
        ...     require_sane_size(file.name)
    """
    with zipfile.ZipFile(path) as archive:
        packed = sum(info.compress_size for info in archive.infolist())
        whole = sum(info.file_size for info in archive.infolist())
    if whole > _TIMES * packed + _MORE:
        raise ValueError(f"expected an archive of about what is in it, got {packed:,} bytes that unpack to {whole:,}")
