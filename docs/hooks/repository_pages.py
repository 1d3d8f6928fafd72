"""Pages of the site that live elsewhere in the repository: notebooks, benchmarks, changelog, contributing.

A notebook is shown with the pictures that it stores; nothing is executed.
"""

from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parents[2]
SECTION = "Tutorials"
PAGES = {
    "benchmarks.md": "benchmarks/README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the notebooks in the navigation."""
    for entry in config.nav:
        if SECTION in entry:
            entry[SECTION] = ["tutorials/index.md", *(f"tutorials/{path.stem}.md" for path in _notebooks())]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and the notebooks' pictures."""
    for page, source in PAGES.items():
        text = (ROOT / source).read_text().replace("](docs/", "](")
        files.append(File.generated(config, page, content=text))
    for path in _notebooks():
        for name, content in _converted(path).items():
            files.append(File.generated(config, f"tutorials/{name}", content=content))
    return files


def _notebooks() -> list[Path]:
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


def _converted(path: Path) -> dict[str, str | bytes]:
    """Return a notebook as Markdown and its pictures, by file name."""
    exporter = MarkdownExporter()
    resources = {"unique_key": path.stem, "output_files_dir": f"{path.stem}_pictures"}
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["language_info"] = {"name": "python"}
    text, resources = exporter.from_notebook_node(notebook, resources=resources)
    return {f"{path.stem}.md": text.replace("![png]", "![figure]"), **resources["outputs"]}
