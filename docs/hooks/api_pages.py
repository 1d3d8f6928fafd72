"""The API pages of the site: one for each public module, one entry for each public symbol.

The pages are made from ``__all__``, so that none is forgotten. A public symbol without a docstring, and a parameter
without a line in it, fail a strict build.
"""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import tfsep

ROOT = Path(__file__).resolve().parents[2]
SECTION = "API"
TYPES = "tfsep._keras.types"
KERAS_METHODS = ("build", "call", "compute_output_shape", "get_config", "from_config")
"""Keras prescribes them, and says there what they do: no pages here."""

DOCSTRING_OF = """\
::: {}
    options:
      members: []
      show_root_heading: false
      show_root_toc_entry: false"""
log = logging.getLogger("mkdocs.hooks.api_pages")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the pages in the navigation."""
    modules = {_title(module): f"api/{_file_name(module)}" for module in _public_modules()}
    for entry in config.nav:
        if SECTION in entry:
            entry[SECTION] = ["api/index.md", *({title: page} for title, page in modules.items())]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Write the pages, and report what has no documentation."""
    modules = _public_modules()
    for module in modules:
        files.append(File.generated(config, f"api/{_file_name(module)}", content=_page(module)))
    files.append(File.generated(config, "api/index.md", content=_index(modules)))
    for line in sorted(undocumented(modules)):
        log.warning("undocumented: %s", line)
    return files


def undocumented(modules: list[griffe.Module]) -> Iterator[str]:
    """Yield every public symbol without a docstring and every parameter without a line in one."""
    for module in modules:
        for symbol in _public_symbols(module):
            yield from _undocumented(symbol, f"{module.path}.{symbol.name}")


def _undocumented(symbol: griffe.Object, path: str) -> Iterator[str]:
    if symbol.docstring is None:
        yield path
    elif symbol.is_function or symbol.is_class:
        bases = symbol.mro() if symbol.is_class else []
        documented = [_documented_names(s.docstring) for s in (symbol, *bases) if s.docstring]
        for name in _parameter_names(symbol).difference(*documented):
            yield f"{path}({name})"
    if symbol.is_class:
        for method in symbol.functions.values():
            # The summary of a method tells what its only parameter is.
            if method.name.startswith("_") or method.name in KERAS_METHODS or len(_parameter_names(method)) < 2:
                continue
            yield from _undocumented(method, f"{path}.{method.name}")


def _parameter_names(symbol: griffe.Object) -> set[str]:
    variadic = (griffe.ParameterKind.var_positional, griffe.ParameterKind.var_keyword)
    return {p.name for p in symbol.parameters if p.kind not in variadic and p.name not in ("self", "cls")}


def _documented_names(docstring: griffe.Docstring) -> set[str]:
    kinds = (griffe.DocstringSectionKind.parameters, griffe.DocstringSectionKind.attributes)
    return {item.name for section in docstring.parsed if section.kind in kinds for item in section.value}


def _public_modules() -> list[griffe.Module]:
    package = griffe.load("tfsep", search_paths=[ROOT], docstring_parser="google", resolve_aliases=True)
    modules = [package.modules[name] for name in sorted(tfsep.__all__) if name in package.modules]
    inner = [member for module in modules for member in module.members.values() if _is_public_module(member)]
    return [*sorted([*modules, *inner], key=lambda module: module.path), package[TYPES.removeprefix("tfsep.")]]


def _is_public_module(member: griffe.Object | griffe.Alias) -> bool:
    return not member.is_alias and member.is_module and not member.name.startswith("_")


def _public_symbols(module: griffe.Module) -> list[griffe.Object]:
    """Return what a module has in ``__all__``, or defines under a public name where it has none; no submodules."""
    members = [m for m in module.members.values() if m.is_public and not m.is_special and not _is_foreign(m)]
    symbols = [member.final_target if member.is_alias else member for member in members]
    return sorted([symbol for symbol in symbols if not symbol.is_module], key=lambda s: (_order(s), s.name))


def _foreign_names(module: griffe.Module) -> dict[str, str]:
    """Return what a module re-exports of another project, and its path there."""
    return {m.name: m.target_path for m in module.members.values() if m.is_public and _is_foreign(m)}


def _is_foreign(member: griffe.Object | griffe.Alias) -> bool:
    return member.is_alias and not member.target_path.startswith("tfsep.")


def _order(symbol: griffe.Object) -> int:
    return ("class", "function").index(symbol.kind.value) if symbol.kind.value in ("class", "function") else 2


def _file_name(module: griffe.Module) -> str:
    return f"{_title(module).removeprefix('tfsep.').lower()}.md"


def _title(module: griffe.Module) -> str:
    return "Types" if module.path == TYPES else module.path


def _page(module: griffe.Module) -> str:
    symbols = _public_symbols(module)
    rows = [f"| [`{s.name}`][{module.path}.{s.name}] | {_summary(s)} |" for s in symbols]
    rows += [f"| `{name}` | `{path}` itself |" for name, path in _foreign_names(module).items()]
    entries = [f"::: {module.path}.{s.name}" for s in symbols]
    table = "\n".join(["| symbol | |", "| --- | --- |", *rows])
    return "\n\n".join([f"# {_title(module)}", DOCSTRING_OF.format(module.path), table, *entries, ""])


def _index(modules: list[griffe.Module]) -> str:
    rows = [f"| [`{_title(module)}`]({_file_name(module)}) | {_summary(module)} |" for module in modules]
    intro = "What users call, from the docstrings. Everything else is private, and may change."
    return "\n\n".join(["# API", intro, "\n".join(["| module | |", "| --- | --- |", *rows]), ""])


def _summary(symbol: griffe.Object) -> str:
    text = symbol.docstring.value.split("\n\n")[0] if symbol.docstring else ""
    # In code, a bar divides no columns, and a backslash would be shown.
    return re.sub(r"(`[^`]*`)|\|", lambda found: found[1] or r"\|", " ".join(text.split()))
