"""Models that commands load: files of Keras, and classes of one's own that they name."""

import importlib.util
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tfsep._keras.types import Model

MODEL_HELP = "A .keras or .h5 file, or the folder of a SavedModel."
CustomOption = Annotated[
    list[str] | None,
    typer.Option(
        "--custom",
        metavar="MODULE[:NAME]",
        help="A module or .py file whose classes and functions the model names, or one of them; it is run. Repeatable.",
    ),
]
UnsafeOption = Annotated[
    bool, typer.Option("--unsafe", help="Load Lambda layers, which run Python code of the file: trust it.")
]


def open_model(path: str | Path, custom: list[str] | None, unsafe: bool) -> "Model":
    """Load a model with the options of a command."""
    from tfsep.models import load_model

    return load_model(path, custom_objects(custom), safe_mode=not unsafe)


def custom_objects(modules: list[str] | None) -> dict[str, Any]:
    """Return the classes and functions of modules by name; importing them registers what they register.

    Args:
        modules: each the name of a module or the path of a ``.py`` file; with ``:NAME`` one of its names.

    Raises:
        ValueError: for a module that cannot be imported, or that does not have the name.
    """
    found: dict[str, Any] = {}
    for given in modules or ():
        name, _, wanted = given.partition(":")
        members = vars(_imported(name))
        if wanted and wanted not in members:
            raise ValueError(f"custom: expected a name that {name} has, got {wanted!r}")
        own = {key: each for key, each in members.items() if inspect.isclass(each) or inspect.isfunction(each)}
        found |= {wanted: members[wanted]} if wanted else own
    return found


def _imported(name: str) -> ModuleType:
    """A module by its name, looked for in the current folder too, or by the path of its file."""
    try:
        with _current_folder_first():
            if not name.endswith(".py"):
                return importlib.import_module(name)
            spec = importlib.util.spec_from_file_location(Path(name).stem, name)
            if spec is None or spec.loader is None:
                raise ImportError(f"no file {name}")
            module = importlib.util.module_from_spec(spec)
            sys.modules.setdefault(spec.name, module)
            spec.loader.exec_module(module)
            return module
    except (Exception, SystemExit) as error:  # whatever the module's own code raises
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"custom: expected a module or .py file that imports, got {name!r} ({type(error).__name__}: {reason})"
        ) from error


@contextmanager
def _current_folder_first() -> Iterator[None]:
    sys.path.insert(0, "")
    try:
        yield
    finally:
        sys.path.remove("")
