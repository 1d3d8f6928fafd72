"""Outputs of a file beside those of its model."""

from dataclasses import replace
from math import prod

from tfsep._keras.types import Data
from tfsep.tflite._litert_model import LiteRTModel
from tfsep.tflite._model_run import ModelRun
from tfsep.tflite._output_sums import OutputSums
from tfsep.tflite._recipes import Recipe
from tfsep.tflite._roughness import ModelSamples
from tfsep.tflite._source_model import SourceModel
from tfsep.tflite._verify_report import VerifyReport

_PROOF_SAMPLES = 8
"""Samples of which operators are compared one by one: all tensors of the file are in memory."""


def compare_outputs(
    source: SourceModel, run: ModelRun, file: LiteRTModel, data: Data, recipe: Recipe, tolerance: float | None
) -> tuple[VerifyReport, ModelSamples]:
    """Run a model and its file side by side on all the data.

    Args:
        source: the model, its sizes those of the file.
        run: run of the model.
        file: file of the model.
        data: samples as `verify` takes them.
        recipe: recipe of the file; its tolerance holds where none is given, plus half a step of quantized outputs.
        tolerance: largest relative RMS error, or None.

    Returns:
        The measures of the outputs, those of the weights left open; and some of the samples.

    Raises:
        ValueError: if there is no data.
    """
    order = run.signature.input_order(file.inputs)
    comparison, counter = OutputSums(file), source.element_counter(file)
    samples: ModelSamples | None = None
    reader, made = run.signature.reader(), sum(prod(info.shape[1:]) for info in file.outputs)
    for batch in reader.chunks(data, reader.chunk_size(made, max(_PROOF_SAMPLES, 2 * file.batch_size))):
        inputs = source.comparable(file, batch.inputs)
        if samples is None:
            first = [array[: max(_PROOF_SAMPLES, file.batch_size)].copy() for array in inputs]
            samples = ModelSamples(run, first, file.outputs)
        file_batch = batch._replace(inputs=tuple(inputs[i] for i in order))
        expected, actual = run(inputs), file(file_batch.inputs)
        comparison.add(file_batch, expected, actual)
        counter.add(inputs, expected, actual)
        samples.note(inputs, expected, actual)
    if samples is None:
        raise ValueError("data: expected at least one sample, got none")
    report = replace(
        counter.complete(comparison.report(recipe, tolerance, lambda: samples.roughness)), mixing=run.mixing
    )
    # What is compared next are the weights, as they were before.
    run.restore()
    return report, samples
