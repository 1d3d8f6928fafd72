"""Numbers of a model on its calibration data, NaN and infinite ones among them: the converter would crash on these."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tfsep._flatbuffer.reader import operator_name
from tfsep._keras.backend import tf
from tfsep._utils.batch_filling import batches
from tfsep.tflite._calibration import Calibration, CalibrationError
from tfsep.tflite._graph_extremes import tensors_of
from tfsep.tflite._layer_origins import layer_of_operator
from tfsep.tflite._litert_model import LiteRTModel
from tfsep.tflite._model_signature import ModelSignature

_CALLS = {"PartitionedCall", "StatefulPartitionedCall"}


def require_finite(
    function: Any, signature: ModelSignature, calibration: Calibration, float_file: Callable[[], bytes]
) -> None:
    """Raise if a result that the converter would measure on the calibration data is NaN, or infinite where that counts.

    The converter takes infinite numbers, such as a logarithm of 0 in front of a maximum, but for those of EXP, on which
    it crashes as on NaN.

    Args:
        function: the traced model.
        signature: its signature.
        calibration: the samples.
        float_file: returns its file in float32, which has the results that are measured; called where a result in the
            traced model is no number.

    Raises:
        CalibrationError: naming the layer of the first such result.
    """
    if _is_finite(function, signature, calibration):
        return
    with tempfile.TemporaryDirectory(prefix="tfsep-") as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(float_file())
        file = LiteRTModel(path, keep_tensors=True, trusted=True)
        order = signature.input_order(file.inputs)
        arrays = calibration.arrays()
        results = file.operator_outputs([arrays[place] for place in order])
    content = file.flatbuffer
    graph = content.subgraphs[0]
    for operator in graph.operators or []:
        fatal = operator_name(content, operator) == "EXP"
        made = [results[index] for index in operator.outputs if index in results]
        if any(np.isnan(each).any() or (fatal and np.isinf(each).any()) for each in made):
            raise CalibrationError(
                "calibration: expected samples on which every layer computes numbers, got NaN or infinity of "
                f"{layer_of_operator(signature.model, content, graph, operator)!r}"
            )


def _is_finite(function: Any, signature: ModelSignature, calibration: Calibration) -> bool:
    """Whether all results in a traced model are numbers on the samples."""
    graph = function.graph
    operations = graph.get_operations()
    if function.captured_inputs or any(each.type in _CALLS for each in operations):
        return False  # a graph with a state, or of results that are not among its own
    results = [
        tensor.name
        for each in operations
        if each.type not in ("Const", "Placeholder")
        for tensor in each.outputs
        if tensor.dtype.is_floating
    ]

    def are_finite(inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        found = tensors_of(function, results, inputs)
        return tf.reduce_all([tf.reduce_all(tf.math.is_finite(each)) for each in found])

    computed = tf.function(are_finite, autograph=False)
    for arrays, _ in batches(calibration.arrays(), signature.batch_size or 1):
        try:
            finite = computed(dict(zip(signature.input_names, map(tf.constant, arrays), strict=True)))
        except tf.errors.OpError:
            return True  # samples that no operator takes, such as an id too high, which measuring ranges names
        if not finite:
            return False
    return True
