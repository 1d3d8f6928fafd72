"""Tables as aligned text, Markdown and CSV."""

import csv
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

_WIDTH = 100_000
"""Characters of a line: every row is whole, and in one line, so that it can be searched."""

_RULE = 140
"""Most characters of the rule under the headers: a long sentence in a row is no reason for several lines of it."""


class Table(NamedTuple):
    """A table of rows under headers.

    Attributes:
        headers: a name for each column.
        rows: each with as many cells as there are headers.

    Examples:
        >>> print(Table(("layer", "params"), [("a", 1234)]).markdown())
        | layer | params |
        | --- | ---: |
        | a | 1,234 |
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def _numeric(self, column: int) -> bool:
        cells = [row[column] for row in self.rows]
        return bool(cells) and all(isinstance(cell, int | float) or cell is None for cell in cells)

    def text(self) -> str:
        """Return aligned columns, numbers to the right, ints with thousands separators."""
        from rich.box import SIMPLE
        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(box=SIMPLE, pad_edge=False)
        for i, header in enumerate(self.headers):
            table.add_column(header, justify="right" if self._numeric(i) else "left", no_wrap=True)
        for row in self.rows:
            table.add_row(*(Text(format_cell(cell)) for cell in row))
        target = io.StringIO()
        Console(file=target, width=_WIDTH, color_system=None, force_jupyter=False).print(table)
        lines = [line.rstrip() for line in target.getvalue().splitlines()]
        return "\n".join(line[:_RULE] if set(line) <= {" ", "─"} else line for line in lines if line)

    def markdown(self) -> str:
        """Return a Markdown table, ints with thousands separators."""
        rules = ["---:" if self._numeric(i) else "---" for i in range(len(self.headers))]
        rows = [[format_cell(cell).replace("|", "\\|") for cell in row] for row in self.rows]
        return "\n".join("| " + " | ".join(row) + " |" for row in [list(self.headers), rules, *rows])

    def csv(self) -> str:
        """Return CSV with a header line and unformatted numbers."""
        target = io.StringIO()
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow(self.headers)
        writer.writerows(self.rows)
        return target.getvalue().rstrip("\n")


def format_cell(cell: Any) -> str:
    """Return a cell as text for readers: empty for None, ints with thousands separators.

    Args:
        cell: the cell's value.
    """
    if cell is None:
        return ""
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)
