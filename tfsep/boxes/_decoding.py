"""How the outputs of a detector become objects, as a record that is kept beside its model."""

from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import ArrayLike

from tfsep._utils.arguments import short_repr
from tfsep.boxes._anchors import AnchorGrid, Anchors
from tfsep.boxes._detections import Detections, PostProcessing, detections


@dataclass(frozen=True)
class Decoding:
    """How the outputs of a detector become objects.

    Attributes:
        anchors: the detector's anchors, A of them.
        settings: the settings of what follows.

    Raises:
        TypeError: for a field of another type; the message starts with its name.

    Examples:
        >>> decoding = Decoding(Anchors((AnchorGrid(1, 1, ((0.5, 0.5),)),)), PostProcessing(2))
        >>> decoding == Decoding.from_dict(decoding.to_dict())
        True
    """

    anchors: Anchors
    settings: PostProcessing

    def __post_init__(self) -> None:
        """Validate the fields."""
        for name, kind in (("anchors", Anchors), ("settings", PostProcessing)):
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name}: expected {kind.__name__}, got {short_repr(getattr(self, name))}")

    def __call__(self, offsets: ArrayLike, scores: ArrayLike) -> Detections:
        """Return the objects of an image; see `detections`.

        Args:
            offsets: boxes relative to their anchors, (A, 4).
            scores: score of each class, (A, num_classes).
        """
        return detections(offsets, scores, self.anchors, self.settings)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as a dict for JSON."""
        grids = [{**asdict(grid), "sizes": [list(size) for size in grid.sizes]} for grid in self.anchors.grids]
        return {"grids": grids, "settings": {**asdict(self.settings), "scales": list(self.settings.scales)}}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Decoding":
        """Return the record of a dict.

        Args:
            record: dict from `to_dict`.

        Raises:
            ValueError: for another dict, or no dict.
        """
        try:
            grids = tuple(AnchorGrid(**grid) for grid in record["grids"])
            return cls(Anchors(grids), PostProcessing(**record["settings"]))
        except (TypeError, KeyError) as error:
            raise ValueError(f"detection: expected grids and settings, got {short_repr(record)}") from error
