"""Integer geometry of convolutions: windows, output sizes, receptive fields; independent of TensorFlow."""

from tfsep.geometry._padding import fixed_padding, same_pads
from tfsep.geometry._receptive_field import RatesCheck, ReceptiveField, check_rates, coverage, receptive_field
from tfsep.geometry._sizes import Padding, PaddingLike, Pads, Pair, PairLike, Sizes
from tfsep.geometry._transposed import Transposed
from tfsep.geometry._window import Window

__all__ = [
    "Padding",
    "PaddingLike",
    "Pads",
    "Pair",
    "PairLike",
    "RatesCheck",
    "ReceptiveField",
    "Sizes",
    "Transposed",
    "Window",
    "check_rates",
    "coverage",
    "fixed_padding",
    "receptive_field",
    "same_pads",
]
