"""The outputs of a calibrated model beside those of the float model, with any of its operations in integers."""

from collections.abc import Collection

import numpy as np

from tfsep._keras.foreign_state import foreign_state_kept
from tfsep._utils.batch_filling import without_filling
from tfsep._utils.progress import progress_bar
from tfsep.quantize._calibrated_model import Calibrated
from tfsep.quantize._output_agreement import OutputAgreement
from tfsep.quantize._partly_quantized import PartlyQuantized


class MeasuredParts:
    """Measures parts of a calibrated model in integers, on its samples.

    Attributes:
        part: the model.

    Args:
        made: the calibrated model.
    """

    def __init__(self, made: Calibrated) -> None:
        self.part = PartlyQuantized(made.model, made.real_weights)
        self._model = made.model
        self._batches = list(made.samples.batches())
        self._expected = [self._outputs(place, ()) for place in range(len(self._batches))]

    def together(self, names: Collection[str]) -> OutputAgreement:
        """Return how well the outputs agree with these operations in integers, all others in real numbers."""
        found = OutputAgreement()
        for place, expected in enumerate(self._expected):
            found.add(expected, self._outputs(place, names))
        return found

    def alone(self) -> dict[str, OutputAgreement]:
        """Return how well they agree with each operation alone in integers, by its name."""
        found = {name: OutputAgreement() for name in self.part.names}
        with progress_bar("sensitivity", len(found) * len(self._batches)) as advance, foreign_state_kept(self._model):
            for place, (inputs, _) in enumerate(self._batches):
                for name, outputs in self.part.outputs_alone(inputs):
                    found[name].add(self._expected[place], self._unfilled(place, outputs))
                    advance()
        return found

    def _outputs(self, place: int, names: Collection[str]) -> list[np.ndarray]:
        with foreign_state_kept(self._model):
            return self._unfilled(place, self.part.outputs(self._batches[place][0], names))

    def _unfilled(self, place: int, outputs: list[np.ndarray]) -> list[np.ndarray]:
        inputs, count = self._batches[place]
        return [without_filling(output, len(inputs[0]), count) for output in outputs]
