"""The worker that describes a file as task libraries read it, by MediaPipe's schema of metadata."""

from typing import Any

import numpy as np

_IDENTIFIER = b"M001"
_PARSER = "1.0.0"
"""The first version of the schema has all that is written here."""


def describe(request: dict[str, Any], arrays: list[np.ndarray]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Return a file's metadata as bytes.

    Args:
        request: ``name``; ``inputs`` and ``outputs``, each a list of ``name``, ``image`` (channels, or None), ``mean``
            and ``std`` of a normalized one, ``labels``, a file's name, or None.
        arrays: none.
    """
    import flatbuffers
    from mediapipe.tasks.metadata import metadata_schema_py_generated as schema

    del arrays
    graph = schema.SubGraphMetadataT()
    graph.inputTensorMetadata = [_tensor(schema, tensor) for tensor in request["inputs"]]
    graph.outputTensorMetadata = [_tensor(schema, tensor) for tensor in request["outputs"]]
    model = schema.ModelMetadataT()
    model.name, model.minParserVersion, model.subgraphMetadata = request["name"], _PARSER, [graph]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    return {}, [np.frombuffer(bytes(builder.Output()), np.uint8)]


def _tensor(schema: Any, described: dict[str, Any]) -> Any:
    tensor = schema.TensorMetadataT()
    tensor.name = described["name"]
    tensor.content = schema.ContentT()
    if described["image"] is None:
        tensor.content.contentPropertiesType = schema.ContentProperties.FeatureProperties
        tensor.content.contentProperties = schema.FeaturePropertiesT()
    else:
        colours = schema.ColorSpaceType
        image = schema.ImagePropertiesT()
        image.colorSpace = colours.RGB if described["image"] == 3 else colours.GRAYSCALE
        tensor.content.contentPropertiesType = schema.ContentProperties.ImageProperties
        tensor.content.contentProperties = image
        options = schema.NormalizationOptionsT()
        options.mean, options.std = [described["mean"]], [described["std"]]
        unit = schema.ProcessUnitT()
        unit.optionsType, unit.options = schema.ProcessUnitOptions.NormalizationOptions, options
        tensor.processUnits = [unit]
    if described["labels"] is not None:
        labels = schema.AssociatedFileT()
        labels.name, labels.type = described["labels"], schema.AssociatedFileType.TENSOR_AXIS_LABELS
        tensor.associatedFiles = [labels]
    return tensor
