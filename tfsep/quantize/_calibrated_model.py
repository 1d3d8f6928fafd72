"""The record of a calibrated model, and of what it was made of."""

from typing import NamedTuple

import numpy as np

from tfsep._keras.types import Model
from tfsep.quantize._adaptive_rounding import LearnedRounding
from tfsep.quantize._calibration_report import CalibrationReport
from tfsep.quantize._calibration_samples import CalibrationSamples


class Calibrated(NamedTuple):
    """A calibrated model, and what it was made of.

    Attributes:
        model: the prepared model.
        report: what each part changed.
        samples: the samples, and the model.
        real_weights: by the names of layers with weights, those that compute what the float model does; the parts
            behind equalization change weights for integers alone.
        roundings: by the names of layers, the rounding that each has learned; empty where it was not to.
    """

    model: Model
    report: CalibrationReport
    samples: CalibrationSamples
    real_weights: dict[str, list[np.ndarray]]
    roundings: dict[str, LearnedRounding]

    @property
    def agreement(self) -> float:
        """How well the outputs agree with those of the float model."""
        assert self.report.agreement is not None
        return self.report.agreement
