"""The worker that packs metadata for task libraries, by MediaPipe's schema."""

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np

_IDENTIFIER = b"M001"
_PARSER = "1.0.0"
"""The first version of the schema, which has every field that is written here."""

_LEFT_TOP_RIGHT_BOTTOM = [1, 0, 3, 2]
"""Where the schema's order of edges is in a box."""


def describe(request: dict[str, Any], arrays: list[np.ndarray]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Return a file's metadata as bytes.

    Args:
        request: ``name``; ``inputs`` and ``outputs``, each a list of tensors; and, where some outputs belong together,
            ``group``, with its ``name`` and the names of its ``tensors``. A tensor has a ``name``; a ``kind``:
            ``"image"``, ``"features"``, ``"boxes"`` or ``"values"``, which number labels; ``labels``, a file's name or
            None; an image its ``channels``, and ``mean`` and ``std``, one number, or one per channel, where the
            normalization is known.
        arrays: none.
    """
    import flatbuffers

    del arrays
    schema = _schema()
    graph = schema.SubGraphMetadataT()
    graph.inputTensorMetadata = [_tensor(schema, tensor) for tensor in request["inputs"]]
    graph.outputTensorMetadata = [_tensor(schema, tensor) for tensor in request["outputs"]]
    if "group" in request:
        group = schema.TensorGroupT()
        group.name, group.tensorNames = request["group"]["name"], request["group"]["tensors"]
        graph.outputTensorGroups = [group]
    model = schema.ModelMetadataT()
    model.name, model.minParserVersion, model.subgraphMetadata = request["name"], _PARSER, [graph]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    return {}, [np.frombuffer(bytes(builder.Output()), np.uint8)]


def _schema() -> Any:
    """MediaPipe's module of the schema, loaded from its file, as importing the package takes seconds."""
    package = find_spec("mediapipe")
    if package is None or package.origin is None:
        raise ImportError("the package mediapipe is not there")
    path = Path(package.origin).parent / "tasks" / "metadata" / "metadata_schema_py_generated.py"
    spec = spec_from_file_location("mediapipe_metadata_schema", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no module")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _tensor(schema: Any, described: dict[str, Any]) -> Any:
    tensor = schema.TensorMetadataT()
    tensor.name = described["name"]
    tensor.content = schema.ContentT()
    if described["kind"] == "boxes":
        boxes = schema.BoundingBoxPropertiesT()
        boxes.index, boxes.type = _LEFT_TOP_RIGHT_BOTTOM, schema.BoundingBoxType.BOUNDARIES
        boxes.coordinateType = schema.CoordinateType.RATIO
        tensor.content.contentPropertiesType = schema.ContentProperties.BoundingBoxProperties
        tensor.content.contentProperties = boxes
    elif described["kind"] != "image":
        tensor.content.contentPropertiesType = schema.ContentProperties.FeatureProperties
        tensor.content.contentProperties = schema.FeaturePropertiesT()
    else:
        colours = schema.ColorSpaceType
        image = schema.ImagePropertiesT()
        image.colorSpace = colours.RGB if described["channels"] == 3 else colours.GRAYSCALE
        tensor.content.contentPropertiesType = schema.ContentProperties.ImageProperties
        tensor.content.contentProperties = image
        if "mean" in described:
            options = schema.NormalizationOptionsT()
            options.mean, options.std = described["mean"], described["std"]
            unit = schema.ProcessUnitT()
            unit.optionsType, unit.options = schema.ProcessUnitOptions.NormalizationOptions, options
            tensor.processUnits = [unit]
    if described["labels"] is not None:
        labels = schema.AssociatedFileT()
        kinds = schema.AssociatedFileType
        labels.name = described["labels"]
        labels.type = kinds.TENSOR_VALUE_LABELS if described["kind"] == "values" else kinds.TENSOR_AXIS_LABELS
        tensor.associatedFiles = [labels]
    return tensor
