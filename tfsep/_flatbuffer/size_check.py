"""How much a flatbuffer asks a reader to unpack: counted before it is unpacked, without keeping any of it.

A vector's length and the places of tables are numbers in the file. A damaged or hostile one may say that a million
tensors are all the same table, and have a reader make a million copies of its name.
"""

from collections.abc import Iterator
from typing import Any

_MOST_TABLES = 250_000
"""A language model of billions of weights has some ten thousand."""
_MOST_TEXT = 1 << 26
"""Bytes of names, all together."""


def check_extent(content: bytes) -> None:
    """Raise unless what a file has to unpack, tables and names, is in proportion.

    Raises:
        ValueError: if it is not; half a sentence. The schema's readers raise others where a place is outside the file.
    """
    from ai_edge_litert import schema_py_generated as schema

    text = 0
    # Every table is at least its own place in a vector.
    most = min(len(content) // 4, _MOST_TABLES)
    for number, name in enumerate(_names(schema.Model.GetRootAs(content, 0))):
        text += len(name or b"")
        if number >= most:
            raise ValueError(f"more than {most:,} tables")
        if text > _MOST_TEXT:
            raise ValueError("names without end")


def _names(model: Any) -> Iterator[bytes | None]:
    """The name, or nothing, of every table in a vector of tables."""
    yield from (model.OperatorCodes(i).CustomCode() for i in range(model.OperatorCodesLength()))
    yield from (None for _ in range(model.BuffersLength()))
    yield from (model.Metadata(i).Name() for i in range(model.MetadataLength()))
    for i in range(model.SignatureDefsLength()):
        signature = model.SignatureDefs(i)
        yield signature.SignatureKey()
        yield from (signature.Inputs(j).Name() for j in range(signature.InputsLength()))
        yield from (signature.Outputs(j).Name() for j in range(signature.OutputsLength()))
    for i in range(model.SubgraphsLength()):
        graph = model.Subgraphs(i)
        yield graph.Name()
        yield from (None for _ in range(graph.OperatorsLength()))
        for j in range(graph.TensorsLength()):
            tensor = graph.Tensors(j)
            yield tensor.Name()
            yield from (None for _ in range(tensor.VariantTensorsLength()))
            sparsity = tensor.Sparsity()
            yield from (None for _ in range(0 if sparsity is None else sparsity.DimMetadataLength()))
