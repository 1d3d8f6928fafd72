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

from tfsep._utils.arguments import as_found
from tfsep._utils.foreign_errors import cause_of

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
        ValueError: for a module that cannot be imported, or that has no class or function of the name.
    """
    found: dict[str, Any] = {}
    for given in modules or ():
        name, colon, wanted = given.partition(":")
        members = vars(_imported(name))
        own = {key: each for key, each in members.items() if inspect.isclass(each) or inspect.isfunction(each)}
        if colon and wanted not in own:
            what = f"{wanted!r} of type {type(members[wanted]).__name__}" if wanted in members else repr(wanted)
            raise ValueError(f"custom: expected the name of a class or function that {name} has, got {what}")
        found |= {wanted: own[wanted]} if colon else own
    return found


def _imported(name: str) -> ModuleType:
    """A module by its name, looked for in the current folder too, or by the path of its file."""
    path = Path(name)
    if path.suffix == ".py" and not path.is_file():
        raise ValueError(f"custom: expected a module or .py file that imports, got {as_found(path)}")
    try:
        if path.suffix != ".py":
            with _folder_first(""):
                return importlib.import_module(name)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"no module in {name}")
        module = importlib.util.module_from_spec(spec)
        # What it imports may lie beside it.
        with _folder_first(str(path.resolve().parent)), _registered(module):
            spec.loader.exec_module(module)
        return module
    except (Exception, SystemExit) as error:  # whatever the module's own code raises
        raise ValueError(
            f"custom: expected a module or .py file that imports, got {name!r} ({type(error).__name__}: "
            f"{cause_of(error)})"
        ) from error


@contextmanager
def _folder_first(folder: str) -> Iterator[None]:
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


@contextmanager
def _registered(module: ModuleType) -> Iterator[None]:
    """Give a module its place among Python's while it is executed, and after that if it was."""
    is_new = sys.modules.setdefault(module.__name__, module) is module
    try:
        yield
    except BaseException:
        if is_new:
            del sys.modules[module.__name__]
        raise
