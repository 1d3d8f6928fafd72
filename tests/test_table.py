"""Tables: aligned text, Markdown and CSV of the same cells."""

import csv
import io

from tfsep._utils.table import Table

TABLE = Table(("name", "count", "note"), [("a|b", 12345, "x"), ("long name", 7, ""), ("none", None, "[bold]")])


def test_text_is_aligned_and_complete():
    lines = TABLE.text().splitlines()
    assert len(lines) == 5
    assert "12,345" in lines[2]
    ends = [line.index(number) + len(number) for line, number in zip(lines[2:4], ("12,345", "7"), strict=True)]
    assert ends[0] == ends[1]
    assert "[bold]" in lines[4]


def test_markdown_escapes_and_aligns():
    lines = TABLE.markdown().splitlines()
    assert lines[:3] == ["| name | count | note |", "| --- | ---: | --- |", "| a\\|b | 12,345 | x |"]


def test_csv_is_read_back():
    rows = list(csv.reader(io.StringIO(TABLE.csv())))
    assert rows == [["name", "count", "note"], ["a|b", "12345", "x"], ["long name", "7", ""], ["none", "", "[bold]"]]


def test_wide_tables_are_not_cut():
    _, rule, row = Table(("a", "b"), [("x" * 300, "y" * 1500)]).text().splitlines()
    assert row.split() == ["x" * 300, "y" * 1500]
    assert set(rule) <= {" ", "─"}
    assert 100 < len(rule) <= 140
