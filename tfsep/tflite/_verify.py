"""Verification: a file and its model run on the same data, side by side."""

from os import PathLike

from tfsep._keras.foreign_state import foreign_state_kept
from tfsep._keras.types import Data, Model
from tfsep._utils.arguments import positive_number
from tfsep.tflite._model_run import model_run
from tfsep.tflite._output_comparison import compare_outputs
from tfsep.tflite._recipe_of_file import recipe_of_file
from tfsep.tflite._source_model import source_and_file
from tfsep.tflite._verify_report import VerifyReport, require_passed


def verify(
    model: Model | str | PathLike[str],
    path: str | PathLike[str],
    data: Data,
    *,
    tolerance: float | None = None,
    threads: int = 1,
    weights: bool = True,
    strict: bool = False,
) -> VerifyReport:
    """Run a file beside its model on the same data, compare outputs, weights and operators, and fail if they differ.

    Outputs are judged as a whole and channel by channel, each relative to its own deviation in the model. A channel
    that varies in the model and is constant in the file fails in every recipe. An error past the tolerance is one of
    two things, which the stored numbers tell apart:

    - The file is *wrong*. A weight, bias or normalization is not the model's to within the rounding of the file's type,
      half a step of an int8 kernel; or the file, with every number replaced by the model's and so without any rounding,
      is off by more than float32 arithmetic: operators, options, connections or outputs are not the model's; or an
      operator in integers does not make, of the numbers that it reads, what real arithmetic makes of them; or the
      stored range of a tensor leaves out much of what the model has there. It fails, whatever the tolerance.
    - The file is *lossy*. All these are as they should be, and rounding adds up. It passes with a note, unless it is
      `strict`, or past a tolerance that was given as a whole.

    Weights and operators are compared with the model's conversion to float32. None of it finds a difference that the
    data do not show.

    Data is streamed: memory does not grow with it.

    Args:
        model: the Keras model from which the file was made, or the path of its ``.keras`` file.
        path: path of the ``.tflite`` file.
        data: an array (N, ...) of the model's input; a tuple (x, labels), labels ints (N,) from 0; for several
            inputs a tuple of arrays in the model's own order (``Model([a, b])`` takes ``(a, b)``), or a dict by name;
            or an iterable of any of these, a ``tf.data.Dataset`` or a generator.
        tolerance: largest relative RMS error, see `VerifyReport`; None for that of the recipe in `RECIPES` that has
            the file's types.
        threads: number of LiteRT's threads.
        weights: whether to compare weights and operators; False for a file whose weights another tool changed on
            purpose, by pruning or clustering: then the tolerance decides alone.
        strict: whether a lossy file fails.

    Returns:
        The errors of outputs and weights.

    Raises:
        VerificationError: if the file is wrong, or lossy where that is not allowed; it carries the report.
        ValueError, TypeError: for data of another shape or dtype, with NaN, or of no sample; for labels that are no
            ints or no classes of the model; for a file of another signature, or a damaged one.
        FileNotFoundError: if there is no such file.

    Examples:
        >>> verify("missing.keras", "missing.tflite", None)
        Traceback (most recent call last):
        FileNotFoundError: model: expected a .keras file, got missing.keras, which does not exist
    """
    if tolerance is not None:
        tolerance = positive_number(tolerance, "tolerance")
    with foreign_state_kept(model):
        source, file, data = source_and_file(model, path, data, threads)
        with model_run(source.signature) as run:
            (report, samples), worst_weight = (
                compare_outputs(source, run, file, data, recipe_of_file(file), tolerance),
                "",
            )
            if weights:
                report, worst_weight = source.check_weights(file, path, report, samples)
    return require_passed(report, path, worst_weight, strict)
