"""The one rule by which a model's images are prepared: the record beside it, or what its first layers say."""

from os import PathLike
from typing import TYPE_CHECKING, NamedTuple

from tfsep.data._preprocessing import Preprocessing, read_preprocessing

if TYPE_CHECKING:
    from tfsep._keras.types import Model


class KnownPreprocessing(NamedTuple):
    """How a model's images are prepared.

    Attributes:
        preprocessing: the record.
        source: origin of it, in words.
    """

    preprocessing: Preprocessing
    source: str


def known_preprocessing(path: str | PathLike[str], model: "Model | None" = None) -> KnownPreprocessing | None:
    """Return how the images for a model are prepared: as recorded beside it, or else as its first layers say.

    Args:
        path: path of the model.
        model: the model, as loaded; None for a file that Keras does not load.

    Returns:
        The record and its source; None where neither says it.

    Raises:
        ValueError: if the JSON beside the model is damaged.

    Examples:
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255, name="scale")])
        >>> known_preprocessing("missing.keras", model).source
        'as scale of the model prepares them'
    """
    if (recorded := read_preprocessing(path)) is not None:
        return KnownPreprocessing(recorded, "as recorded beside the model")
    if model is None:
        return None
    from tfsep.data._model_preprocessing import leading_preprocessing

    return leading_preprocessing(model)
