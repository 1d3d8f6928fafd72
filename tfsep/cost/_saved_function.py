"""The cost of a SavedModel's function, whose graph has no sizes: that of its conversion, which works them out."""

from typing import Any

from tfsep._flatbuffer.reader import unpack
from tfsep._keras.backend import tf
from tfsep._keras.types import Layer
from tfsep._utils.foreign_errors import cause_of
from tfsep.cost._report import CostReport
from tfsep.cost._tflite_file import cost_of_content


def cost_of_function(layer: Layer, inputs: Any) -> CostReport:
    """Return the MACs of a `keras.layers.TFSMLayer`, operator by operator.

    The rows have no parameters: of a variable the file may have a part, or what is computed of it.

    Args:
        layer: the layer.
        inputs: what it takes: ``TensorSpec`` of known sizes in any structure.
    """

    def call(*tensors: Any) -> Any:
        return layer(tf.nest.pack_sequence_as(inputs, tensors), training=False)

    function = tf.function(call, autograph=False).get_concrete_function(*tf.nest.flatten(inputs))
    try:
        content = _converted(function, layer)
    except Exception as error:  # whatever the converter raises
        return CostReport((), (f"{layer.name} (it does not convert: {cause_of(error)})",))
    report = cost_of_content(content, unpack(content, layer.name))
    rows = [row._replace(params=0) for row in report.rows if row.macs]
    # Lists of tensors, in which loops keep their results, have no products.
    return CostReport(tuple(rows), tuple(name for name in report.uncounted if "FlexTensorList" not in name))


def _converted(function: Any, layer: Layer) -> bytes:
    """The conversion of a function to float32; TensorFlow's own operators are taken where there are no others."""
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], layer)
    try:
        return bytes(converter.convert())
    except Exception:  # the converter has one kind of error for all
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
        return bytes(converter.convert())
