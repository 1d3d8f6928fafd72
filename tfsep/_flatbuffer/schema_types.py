"""Names of the schema's tables for signatures; the schema's own classes are generated without types."""

from typing import Any, TypeAlias

ModelT: TypeAlias = Any
"""A file."""
SubGraphT: TypeAlias = Any
TensorT: TypeAlias = Any
BufferT: TypeAlias = Any
"""The bytes of a constant tensor."""
OperatorT: TypeAlias = Any
SparsityT: TypeAlias = Any
"""The places of a sparse tensor's numbers, or of one of its dimensions."""
