"""Calibration data against the statistics of a model's own normalization."""

from tfsep._keras import training_statistics
from tfsep.tflite._calibration import Calibration
from tfsep.tflite._model_run import model_run
from tfsep.tflite._model_signature import ModelSignature

_SAMPLES = 64


def unlike_training(signature: ModelSignature, calibration: Calibration) -> str | None:
    """Return the note of `training_statistics.unlike_training` on calibration data, or None."""
    with model_run(signature) as run:

        def shown() -> None:
            for arrays, _ in run.parts([array[:_SAMPLES] for array in calibration.arrays()]):
                run.step(arrays, eager=True)

        return training_statistics.unlike_training(shown, f"calibration data, {calibration.range()}")
