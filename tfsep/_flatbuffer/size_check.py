"""Size check of a flatbuffer: its tables and names are counted before they are unpacked.

A vector's length and the offsets of tables are numbers in the file. In a damaged or hostile one, a million tensors may
refer to the same table, of which a reader would make a million copies.
"""

from collections.abc import Iterator
from typing import Any

_MOST_TABLES = 250_000
"""A language model of billions of weights has some ten thousand."""
_MOST_TEXT = 1 << 26
"""Bytes of all names."""


def check_size(content: bytes) -> None:
    """Raise unless the number of tables and the size of names are in proportion to a file.

    Raises:
        ValueError: if they are not; half a sentence. The schema's readers raise others for offsets outside the file.
    """
    from ai_edge_litert import schema_py_generated as schema

    text = 0
    # Every table takes at least the four bytes of its offset.
    most = min(len(content) // 4, _MOST_TABLES)
    for number, name in enumerate(_names(schema.Model.GetRootAs(content, 0))):
        text += len(name or b"")
        if number >= most:
            raise ValueError(f"more than {most:,} tables")
        if text > _MOST_TEXT:
            raise ValueError("names without end")


def _names(model: Any) -> Iterator[bytes | None]:
    """Yield for every table in a vector of tables its name, or None."""
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
