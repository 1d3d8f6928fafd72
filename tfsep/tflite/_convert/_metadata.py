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
    request = {
        "name": name,
        "inputs": [_tensor_metadata(info, channels_of(info), preprocessing, None) for info in inputs],
        "outputs": [
            _tensor_metadata(info, None, preprocessing, LABELS if labels and number == 0 else None)
            for number, info in enumerate(outputs)
        ],
    }
    try:
        described = run_worker("describe", request).arrays[0]
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
    return {"name": info.name, "image": channels, "labels": labels, **scaled}


def _with_field(content: bytes, described: np.ndarray) -> bytes:
    from ai_edge_litert import schema_py_generated as schema

    model = unpack(content, "the file")
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = described
    entry.name, entry.buffer = _FIELD, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    return pack(model)
