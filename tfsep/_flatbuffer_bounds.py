"""How much there is to unpack in a ``.tflite`` file, counted before it is unpacked.

Offsets in a flatbuffer may point anywhere, so a small file whose vectors overlap can claim more tables than memory
holds: a hundred thousand operators that are one, each with a name that is the whole file. Without overlaps, what is
counted here is at most the file's size.
"""

from functools import cache
from typing import Any

_OVERLAP = 2
"""How many times a file's size may be counted; writers share a name or a shape now and then."""

_MOST_TABLES = 200_000
"""The largest networks have some ten thousand tensors and operators; a table takes about a kilobyte as an object."""

_UNIONS = {
    "BuiltinOptions": "BuiltinOptions",
    "BuiltinOptions2": "BuiltinOptions2",
    "Details": "QuantizationDetails",
    "ArraySegments": "SparseIndexVector",
    "ArrayIndices": "SparseIndexVector",
}
"""The enumeration that a field of several kinds of table goes by."""


def require_bounded(content: bytes) -> None:
    """Raise unless unpacking a file takes work and memory in proportion to its size.

    Raises:
        ValueError: if it takes more.
        struct.error, TypeError: if an offset points out of the file.
    """
    from ai_edge_litert import schema_py_generated as schema

    _Count(len(content), schema).add(schema.Model.GetRootAs(content, 0))


class _Count:
    """Counts the tables, strings and vectors below a table, and stops where it is enough."""

    def __init__(self, size: int, schema: Any) -> None:
        self._bytes, self._tables, self._schema = _OVERLAP * size, _MOST_TABLES, schema

    def add(self, table: Any) -> None:
        """Count a table and all that it points to; how deep that goes is the schema's, which has no cycle."""
        self._tables -= 1
        self._spend(4)
        kind: Any = type(table)
        fields, numbers, vectors = _fields(kind)
        for name in numbers:
            self._spend(getattr(table, f"{name}Length")())
        for name in vectors:
            length = getattr(table, f"{name}Length")()
            self._spend(4 * length)
            for index in range(length):
                self._add_value(table, name, getattr(table, name)(index))
        for name in fields:
            self._add_value(table, name, getattr(table, name)())

    def _add_value(self, table: Any, name: str, value: Any) -> None:
        if isinstance(value, bytes):
            self._spend(len(value))
        elif name in _UNIONS and value is not None:
            kind = _kinds(getattr(self._schema, _UNIONS[name])).get(getattr(table, f"{name}Type")())
            if kind is not None:
                member = getattr(self._schema, kind)()
                member.Init(value.Bytes, value.Pos)
                self.add(member)
        elif hasattr(value, "_tab"):
            self.add(value)

    def _spend(self, count: int) -> None:
        self._bytes -= count
        if self._bytes < 0 or self._tables < 0:
            raise ValueError("more in it than a file of its size has")


@cache
def _fields(kind: Any) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The names of a table's single fields, of its vectors of numbers, and of its vectors of tables or strings."""
    names = [name for name in vars(kind) if name[0].isupper()]
    vectors = [name for name in names if f"{name}IsNone" in names]
    helpers = {f"{name}{suffix}" for name in vectors for suffix in ("", "Length", "AsNumpy", "IsNone")}
    single = [n for n in names if n not in helpers and n != "Init" and not n.startswith("GetRootAs")]
    return (
        tuple(name for name in single if not name.endswith("BufferHasIdentifier")),
        tuple(name for name in vectors if f"{name}AsNumpy" in names),
        tuple(name for name in vectors if f"{name}AsNumpy" not in names),
    )


@cache
def _kinds(enumeration: Any) -> dict[int, str]:
    """The names of the tables that a field may be, by number."""
    return {number: name for name, number in vars(enumeration).items() if isinstance(number, int) and number}
