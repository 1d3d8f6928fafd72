"""What is installed: versions of packages, and the command that installs an extra of this one."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path


def version_of(module: str) -> str:
    """Return the version of a module, as it says itself.

    The same module comes in packages of several names: TensorFlow as ``tensorflow``, ``tensorflow-cpu`` and so on.

    Args:
        module: name of the module.

    Examples:
        >>> version_of("numpy") == np.__version__
        True
    """
    return str(import_module(module).__version__)


def install_command(extra: str) -> str:
    """Return the command that installs what an extra of this package holds.

    It names the packages themselves: whether an index has this one, or where it was installed from, is not known.

    Args:
        extra: name of an extra of ``pyproject.toml``.

    Examples:
        >>> install_command("metadata").startswith("pip install '")
        True
    """
    try:
        found = [line.partition(";") for line in requires("tfsep") or ()]
    except PackageNotFoundError:
        found = []
    packages = [package.strip() for package, _, marker in found if f"extra == '{extra}'" in marker.replace('"', "'")]
    # Without any, it runs from a checkout that is not installed, or has been installed before it had the extra.
    packages = packages or [f"{Path(__file__).resolve().parents[2]}[{extra}]"]
    return " ".join(["pip install", *(f"'{package}'" for package in packages)])
