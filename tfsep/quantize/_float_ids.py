"""Ids in floats, which stay in float32: steps of 8 bits are no whole numbers."""

from collections.abc import Mapping, Sequence

from tfsep._keras.backend import keras
from tfsep.quantize._call_list import LayerCall

_ID_LAYERS = (keras.layers.Embedding, keras.layers.CategoryEncoding)
"""Layers that read floats as ids."""
_ROUNDING = ("Round", "Rint", "Floor", "Ceil", "Trunc", "Sign", "FloorDivide")
"""Operations that make whole numbers of others."""


def ids_in_floats(calls: Sequence[LayerCall], users: Mapping[int, Sequence[int]]) -> set[int]:
    """Return the calls whose floats are made of whole numbers alone, and are read as integers.

    Args:
        calls: calls of a model.
        users: for each call, those that take its result.
    """
    whole: set[int] = set()
    for number, call in enumerate(calls):
        is_made = call.has_integers or call.casts or type(call.layer).__name__ in _ROUNDING
        is_arithmetic = bool(call.sources) and not getattr(call.layer, "weights", ())
        if is_made or (is_arithmetic and whole.issuperset(call.sources)):
            whole.add(number)
    ids: set[int] = set()
    for number in sorted(whole, reverse=True):
        readers = users.get(number, ())
        if any(
            calls[each].has_integers or isinstance(calls[each].layer, _ID_LAYERS) or each in ids for each in readers
        ):
            ids.add(number)
    return {number for number in ids if not calls[number].has_integers}
