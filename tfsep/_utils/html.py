"""Fragments of one self-contained HTML page: text, tables, plots and images.

Fragments are strings of safe HTML; all text from outside passes `html.escape`. The page fetches nothing.
"""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

from tfsep._utils.table import Table, format_cell

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5c6675; --line: #d9dee6; --back: #ffffff; --panel: #f5f7fa;
        --good: #0a7d4f; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --soft: #9aa5b4; --line: #343c49; --back: #14181f; --panel: #1d232c; --good: #4cc38a;
          --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 2rem 1.25rem 4rem; background: var(--back); color: var(--ink);
       font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; padding-top: 1rem; border-top: 1px solid var(--line); }
p { max-width: 44rem; } .soft { color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .84rem; font-variant-numeric: tabular-nums; margin: .75rem 0; }
th, td { padding: .25rem .5rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; } th:first-child, td:first-child { text-align: left; }
figure { margin: 1rem 0; padding: 1rem; background: #ffffff; border: 1px solid var(--line); border-radius: .5rem; }
figure svg { display: block; width: 100%; height: auto; }
figcaption { color: #5c6675; font-size: .85rem; margin-top: .5rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.2rem, 1fr)); gap: .6rem; }
.card { background: var(--panel); border: 1px solid var(--line); border-radius: .5rem; padding: .5rem; font-size: .8rem;
        line-height: 1.35; }
.card img { width: 100%; image-rendering: pixelated; border-radius: .25rem; background: #000; display: block;
            margin-bottom: .35rem; }
.good { color: var(--good); } .bad { color: var(--bad); }
"""


def page(title: str, fragments: Iterable[str]) -> str:
    """Return a whole HTML document."""
    body = "\n".join(fragments)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        f"{body}\n</body>\n</html>\n"
    )


def heading(text: str) -> str:
    """Return the heading of a section."""
    return f"<h2>{escape(text)}</h2>"


def paragraph(text: str, soft: bool = False) -> str:
    """Return a paragraph of plain text."""
    return f'<p class="soft">{escape(text)}</p>' if soft else f"<p>{escape(text)}</p>"


def table(content: Table) -> str:
    """Return a table, its first column aligned left, the others right."""
    head = "".join(f"<th>{escape(h)}</th>" for h in content.headers)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(format_cell(cell))}</td>" for cell in row) + "</tr>" for row in content.rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def figure(plot: Any, caption: str) -> str:
    """Return a Matplotlib figure as inline SVG with its caption."""
    text = io.StringIO()
    plot.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    svg = text.getvalue()
    return f"<figure>{svg[svg.index('<svg') :]}<figcaption>{escape(caption)}</figcaption></figure>"


def image_card(image: np.ndarray, lines: Sequence[str], good: bool) -> str:
    """Return a card: a uint8 image (H, W, 1 or 3) above lines of text, the last one coloured as good or bad."""
    mark = "good" if good else "bad"
    text = "<br>".join([*map(escape, lines[:-1]), f'<span class="{mark}">{escape(lines[-1])}</span>'])
    return f'<div class="card"><img alt="{escape(lines[0])}" src="{_png(image)}">{text}</div>'


def cards(fragments: Iterable[str]) -> str:
    """Return cards in a grid."""
    return f'<div class="cards">{"".join(fragments)}</div>'


def _png(image: np.ndarray) -> str:
    from matplotlib import image as images

    pixels = np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image
    buffer = io.BytesIO()
    images.imsave(buffer, pixels, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
