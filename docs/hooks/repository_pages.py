"""Pages of the site that live elsewhere in the repository: notebooks, benchmarks, changelog, contributing.

A notebook is shown with the pictures that it stores; nothing is executed. Formulas become MathML, which browsers draw
without a script. Links in all pages are those of the repository, so that they work there too; here they are turned
into links between pages.
"""

import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath

import nbformat
from latex2mathml.converter import convert as mathml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parents[2]
SECTION = "Tutorials"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = {
    "benchmarks/README.md": "benchmarks.md",
    "benchmarks/networks.md": "networks.md",
    "benchmarks/calibration.md": "calibration.md",
    "benchmarks/quantize.md": "int8.md",
    "benchmarks/family.md": "family.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
LINKED = PAGES | {f"notebooks/{path.name}": f"tutorials/{path.stem}.md" for path in NOTEBOOKS}
SOURCES = {page: source for source, page in LINKED.items()}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the notebooks in the navigation."""
    for entry in config.nav:
        if SECTION in entry:
            entry[SECTION] = ["tutorials/index.md", *(f"tutorials/{path.stem}.md" for path in NOTEBOOKS)]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and the notebooks' pictures."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for path in NOTEBOOKS:
        for name, content in _converted(path).items():
            files.append(File.generated(config, f"tutorials/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Turn links between files of the repository into links between pages; a page without siblings needs no list."""
    if page.parent is None:
        page.meta["hide"] = ["navigation"]
    uri = page.file.src_uri
    folder = dirname(SOURCES.get(uri, f"docs/{uri}"))

    def link(match: re.Match) -> str:
        target = normpath(join(folder, match[1]))
        linked = LINKED.get(target, target.removeprefix("docs/"))
        return f"]({relpath(linked, dirname(uri) or '.')}" if target in LINKED or target != linked else match[0]

    return re.sub(r"\]\(([^)#:]+)", link, markdown)


def _converted(path: Path) -> dict[str, str | bytes]:
    """Return a notebook as Markdown and its pictures, by file name."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["language_info"] = {"name": "python"}
    resources = {"unique_key": path.stem, "output_files_dir": f"{path.stem}_pictures"}
    text, resources = MarkdownExporter().from_notebook_node(notebook, resources=resources)
    text = re.sub(r"\$\$(.+?)\$\$", lambda formula: mathml(formula[1], display="block"), text)
    return {f"{path.stem}.md": text.replace("![png]", "![figure]"), **resources["outputs"]}
