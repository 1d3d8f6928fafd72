"""How a model is quantized, as a record that refuses nonsense."""

from dataclasses import dataclass

from tfsep._utils.arguments import number_in_range, short_repr

RANGES = ("moving", "learned")
RUNTIMES = ("xnnpack", "reference")


@dataclass(frozen=True)
class Config:
    """How `prepare` quantizes.

    Attributes:
        runtime: whose rounding inference emulates: ``"xnnpack"``, LiteRT's default on CPUs, or ``"reference"``, the
            fixed-point kernels of TensorFlow Lite for Microcontrollers. LiteRT's own reference kernels are the same but
            for dense layers, which they round once where those round twice.
        ranges: of activations: ``"moving"`` averages of each batch's minimum and maximum, or ``"learned"``: the same
            until a layer was seen `observations` times, and trained with the weights from then on.
        momentum: how much of a moving range stays at each step.
        observations: steps after which learned ranges are the optimizer's.
        float_layers: names of layers that stay in float32, as `tflite.compare_layers` has them, of composite layers or
            of nested models. What one operator computes stays together: a convolution, the normalization and the
            rectifier behind it, whichever is named.

    Raises:
        ValueError: for anything else; the sentence starts with the name.

    Examples:
        >>> Config(ranges="fixed")
        Traceback (most recent call last):
        ValueError: ranges: expected one of moving, learned, got 'fixed'
    """

    runtime: str = "xnnpack"
    ranges: str = "moving"
    momentum: float = 0.99
    observations: int = 100
    float_layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse nonsense, when the record is made."""
        for name, allowed in (("runtime", RUNTIMES), ("ranges", RANGES)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: expected one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        number_in_range(self.momentum, "momentum", float, 0, 0.9999)
        number_in_range(self.observations, "observations", int, 1)
        named = self.float_layers
        if not isinstance(named, list | tuple | set | frozenset) or not all(isinstance(name, str) for name in named):
            raise ValueError(f"float_layers: expected names of layers, got {short_repr(named)}")
        object.__setattr__(self, "float_layers", tuple(sorted(named) if isinstance(named, set | frozenset) else named))
