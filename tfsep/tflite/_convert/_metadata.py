"""Metadata inside a file for task libraries: normalization of images, and labels."""

import io
import zipfile
from importlib.util import find_spec
from typing import Any

import numpy as np

from tfsep._flatbuffer.reader import pack, unpack
from tfsep._workers import WorkerError, run_worker
from tfsep.data import Preprocessing
from tfsep.tflite._tensor_info import TensorInfo

LABELS = "labels.txt"
_FIELD = b"TFLITE_METADATA"
_DATE = (1980, 1, 1, 0, 0, 0)
"""Of the label file in the archive: the earliest possible, so that equal contents give equal files."""


def can_describe() -> bool:
    """Whether the package with the schema of metadata is installed."""
    return find_spec("mediapipe") is not None


def channels_of(info: TensorInfo) -> int | None:
    """Return the channels of an input that may be an image, 1 or 3, or None."""
    return info.shape[3] if len(info.shape) == 4 and info.shape[3] in (1, 3) else None


def raw_pixels_off(info: TensorInfo, preprocessing: Preprocessing) -> int:
    """Return by how many steps pixels differ from what an image input in uint8 stores for them; 0 for other inputs."""
    if info.dtype != "uint8" or not info.scale or channels_of(info) is None:
        return 0
    pixels = np.arange(256)
    numbers = zip(preprocessing.mean, preprocessing.std, strict=True)
    return max(int(np.abs(info.quantize((pixels - mean) / std) - pixels).max()) for mean, std in numbers)


def with_metadata(
    content: bytes,
    name: str,
    inputs: tuple[TensorInfo, ...],
    outputs: tuple[TensorInfo, ...],
    preprocessing: Preprocessing | None,
    labels: tuple[str, ...],
) -> bytes:
    """Return a file with metadata in it, and with its labels appended as an archive, where libraries look for them.

    Args:
        content: bytes of the file.
        name: name of the model.
        inputs: inputs in the file's own order.
        outputs: outputs in the file's own order.
        preprocessing: how images are prepared; None where that is not known.
        labels: labels of the first output; none for no label file.

    Raises:
        ValueError: if it cannot be described.
    """
    described = [
        _tensor_metadata(info, None, preprocessing, LABELS if labels and number == 0 else None)
        for number, info in enumerate(outputs)
    ]
    return _described(content, name, inputs, preprocessing, {"outputs": described}, labels)


def with_detection_metadata(
    content: bytes,
    name: str,
    inputs: tuple[TensorInfo, ...],
    preprocessing: Preprocessing | None,
    labels: tuple[str, ...],
) -> bytes:
    """Return a file that ends with ``TFLite_Detection_PostProcess`` with metadata in it, as MediaPipe writes it.

    Args:
        content: bytes of the file.
        name: name of the model.
        inputs: inputs in the file's own order.
        preprocessing: how images are prepared; None where that is not known.
        labels: labels of the classes; none for no label file.

    Raises:
        ValueError: if it cannot be described.
    """
    rows: tuple[tuple[str, str, str | None], ...] = (
        ("location", "boxes", None),
        ("category", "values", LABELS if labels else None),
        ("score", "features", None),
        ("number of detections", "features", None),
    )
    outputs = [{"name": own, "kind": kind, "labels": file} for own, kind, file in rows]
    group = {"name": "detection_result", "tensors": [own for own, _, _ in rows[:3]]}
    return _described(content, name, inputs, preprocessing, {"outputs": outputs, "group": group}, labels)


def _described(
    content: bytes,
    name: str,
    inputs: tuple[TensorInfo, ...],
    preprocessing: Preprocessing | None,
    outputs: dict[str, Any],
    labels: tuple[str, ...],
) -> bytes:
    """The file with metadata of its inputs and outputs in it, and its labels appended."""
    described_inputs = [_tensor_metadata(info, channels_of(info), preprocessing, None) for info in inputs]
    try:
        described = run_worker("describe", {"name": name, "inputs": described_inputs, **outputs}).arrays[0]
    except WorkerError as error:
        raise ValueError(f"model: expected one whose metadata can be written, got {name} ({error})") from error
    whole = _with_field(content, described)
    if not labels:
        return whole
    stream = io.BytesIO(whole)
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr(zipfile.ZipInfo(LABELS, _DATE), "".join(f"{label}\n" for label in labels))
    return stream.getvalue()


def _tensor_metadata(
    info: TensorInfo, channels: int | None, preprocessing: Preprocessing | None, labels: str | None
) -> dict[str, Any]:
    scaled = {} if preprocessing is None else {"mean": preprocessing.mean, "std": preprocessing.std}
    kind = "features" if channels is None else "image"
    return {"name": info.name, "kind": kind, "channels": channels, "labels": labels, **scaled}


def _with_field(content: bytes, described: np.ndarray) -> bytes:
    from ai_edge_litert import schema_py_generated as schema

    model = unpack(content, "the file")
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = described
    entry.name, entry.buffer = _FIELD, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(each for each in model.metadata or [] if each.name != _FIELD), entry]
    return pack(model)
