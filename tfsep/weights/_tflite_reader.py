"""Reads the network in a ``.tflite`` file, operator by operator.

A MobileNet in a file is a chain: convolutions with an activation in them, a mean over the image, a classifier, a
softmax. Whatever else a file holds is refused by name.
"""

from collections.abc import Callable
from os import PathLike
from typing import Any

import numpy as np

from tfsep._flatbuffer.constants import real_numbers, scales_of, stored_numbers
from tfsep._flatbuffer.reader import operator_name, read_tflite, type_name
from tfsep._utils.arguments import as_path
from tfsep.defs import LayerDef
from tfsep.defs._layer_def import LayerKind
from tfsep.geometry import Padding, Pads
from tfsep.weights._conv_bn_stages import Stage
from tfsep.weights._tflite_network import FileLayer, FileNetwork, Grid, UnfitFileError

_MOST_LAYERS = 300
"""MobileNet v1 has 28; a file of many more is no MobileNet, and a Keras model of them takes minutes to build."""

_PADDINGS: dict[int, Padding] = {0: "same", 1: "valid"}
_ACTIVATIONS = {0: "linear", 1: "relu", 3: "relu6"}
_ZERO_POINT_SHIFTS = {"int8": 0, "uint8": 128}
"""What an unsigned zero point is more than the signed one of the same grid."""


def read_network(path: str | PathLike[str]) -> FileNetwork:
    """Return the MobileNet in a ``.tflite`` file.

    Raises:
        TypeError: if `path` is no path.
        FileNotFoundError: if there is no such file.
        ValueError: if it is no TFLite model, not whole, or holds another network.

    Examples:
        >>> read_network("missing.tflite")
        Traceback (most recent call last):
        FileNotFoundError: path: expected a .tflite file, got missing.tflite, which does not exist
    """
    path = as_path(path, "path")
    _, model = read_tflite(path)
    try:
        network = _Reader(model).network()
        network.conv_defs()
        network.padding()
    except UnfitFileError as error:
        raise ValueError(f"path: expected a MobileNet v1, got {path} with {error}") from error
    return network


class _Reader:
    """Follows a file's main graph from its input to its output."""

    def __init__(self, model: Any) -> None:
        self._model, self._graph = model, model.subgraphs[0]
        self._kinds: dict[str, Callable[[Any], None]] = {
            "CONV_2D": self._convolution,
            "DEPTHWISE_CONV_2D": self._convolution,
            "FULLY_CONNECTED": self._dense,
            "PAD": self._pad,
            "AVERAGE_POOL_2D": self._average,
            "MEAN": self._average,
            "RESHAPE": self._moved,
            "SQUEEZE": self._moved,
            "QUANTIZE": self._moved,
            "DEQUANTIZE": self._moved,
            "SOFTMAX": self._last,
        }
        # The tensor that the next operator takes, and what was put around it.
        self._current = -1
        self._pads: Pads | None = None
        self._body: list[FileLayer] = []
        self._behind: list[FileLayer] = []
        self._input = self._mean = -1
        self._softmax = False
        # Constants that are stored as float16 are unpacked by operators of their own.
        self._packed = {
            int(op.outputs[0]): int(op.inputs[0])
            for op in self._graph.operators or []
            if operator_name(model, op) == "DEQUANTIZE" and self._is_constant(int(op.inputs[0]))
        }

    def network(self) -> FileNetwork:
        """Return what the operators come to."""
        ends = [[] if side is None else list(map(int, side)) for side in (self._graph.inputs, self._graph.outputs)]
        if any(len(side) != 1 or side[0] < 0 for side in ends):
            raise UnfitFileError(f"{len(ends[0])} inputs and {len(ends[1])} outputs")
        (self._input,), (last,) = ends
        self._current = self._input
        _, *shape = self._image()
        for operator in self._graph.operators or []:
            if not (len(operator.outputs) and int(operator.outputs[0]) in self._packed):
                self._step(operator)
        if self._mean < 0 or not self._body or self._current != last:
            raise UnfitFileError("no mean over the image behind convolutions, as its end")
        if len({layer.activation for layer in self._body}) > 1 or any(b.activation != "linear" for b in self._behind):
            raise UnfitFileError("layers of several activations, or one behind its classifier")
        grids = [self._grid(self._input), *(layer.grid for layer in self._body), self._grid(self._mean)]
        grids += [layer.grid for layer in self._behind]
        known = tuple(grid for grid in grids if grid is not None)
        return FileNetwork(
            (shape[0], shape[1], shape[2]),
            tuple(self._body),
            self._behind[0] if self._behind else None,
            self._softmax,
            known if len(known) == len(grids) else None,
        )

    def _step(self, operator: Any) -> None:
        """Take in one operator, which has to go on where the one before it ended."""
        name = operator_name(self._model, operator)
        if name not in self._kinds:
            raise UnfitFileError(f"{name} in it")
        if not len(operator.inputs) or int(operator.inputs[0]) != self._current or len(operator.outputs) != 1:
            raise UnfitFileError(f"{name} that does not follow what is before it")
        if self._pads is not None and self._kinds[name] != self._convolution:
            raise UnfitFileError(f"{name} behind PAD")
        if self._softmax and self._kinds[name] != self._moved:
            raise UnfitFileError(f"{name} behind its softmax")
        self._kinds[name](operator)
        self._current = int(operator.outputs[0])

    def _convolution(self, operator: Any) -> None:
        _, height, width, channels = self._image()
        kernel = np.moveaxis(self._kernel(operator, 4), 0, 3)
        depthwise = operator_name(self._model, operator) == "DEPTHWISE_CONV_2D"
        if kernel.shape[2] != channels or (depthwise and kernel.shape[3] != 1):
            raise UnfitFileError(f"a kernel of {kernel.shape[2:]} on {channels} channels")
        stride, rate = (
            (_option(operator, f"{word}H{suffix}"), _option(operator, f"{word}W{suffix}"))
            for word, suffix in (("stride", ""), ("dilation", "Factor"))
        )
        if min(*stride, *rate, *kernel.shape) < 1:
            raise UnfitFileError(f"strides {stride} and rates {rate}")
        padding = _PADDINGS.get(_option(operator, "padding"), "same")
        if self._pads is not None:
            if padding != "valid":
                raise UnfitFileError("a convolution that pads behind PAD")
            (top, bottom), (left, right) = padding = self._pads
            self._pads = None
            height, width = height - top - bottom, width - left - right
        if min(height, width) < 1:
            raise UnfitFileError(f"PAD of {padding} around nothing")
        kind: LayerKind = "depthwise_conv2d" if depthwise else "conv2d"
        depth = None if depthwise else kernel.shape[3]
        self._add(operator, kind, kernel, (stride, rate, depth), padding, (height, width))

    def _dense(self, operator: Any) -> None:
        if _option(operator, "weightsFormat"):
            raise UnfitFileError("shuffled weights")
        kernel = self._kernel(operator, 2).T[None, None]
        self._add(operator, "conv2d", kernel, ((1, 1), (1, 1), kernel.shape[3]), "valid", (1, 1))

    def _add(
        self, operator: Any, kind: LayerKind, kernel: np.ndarray, window: Any, padding: Padding, size: tuple[int, int]
    ) -> None:
        """Add a layer to the body, or behind the mean."""
        layers, most = (self._body, _MOST_LAYERS) if self._mean < 0 else (self._behind, 1)
        if len(layers) == most:
            raise UnfitFileError(f"over {most} layers with kernels {'before' if self._mean < 0 else 'behind'} its mean")
        name = self._graph.tensors[int(operator.inputs[1])].name or b""
        name = name.decode(errors="replace").split(";")[0]
        activation = _ACTIVATIONS.get(_option(operator, "fusedActivationFunction"))
        if activation is None:
            raise UnfitFileError(f"an activation behind {name} that is no ReLU and no ReLU6")
        definition = LayerDef(name, kind, kernel.shape[:2], *window)
        stage = Stage(name, kernel, kind == "depthwise_conv2d", self._bias(operator))
        layers.append(FileLayer(definition, stage, padding, size, activation, self._grid(int(operator.outputs[0]))))

    def _pad(self, operator: Any) -> None:
        pads = self._stored(operator, 1)
        if pads.shape != (4, 2) or pads.dtype.kind != "i" or pads.min() < 0 or pads[[0, 3]].any():
            raise UnfitFileError("PAD of other axes than rows and columns")
        (top, bottom), (left, right) = pads[1:3].tolist()
        self._pads = (top, bottom), (left, right)

    def _average(self, operator: Any) -> None:
        if self._mean >= 0:
            raise UnfitFileError("two means over the image")
        if operator_name(self._model, operator) == "MEAN":
            whole = sorted(self._stored(operator, 1).reshape(-1).tolist()) == [1, 2]
        else:
            window = _option(operator, "filterHeight"), _option(operator, "filterWidth")
            plain = _option(operator, "padding") == 1 and _option(operator, "fusedActivationFunction") == 0
            whole = plain and window == self._image()[1:3]
        if not whole:
            raise UnfitFileError("a mean that is not over the whole image")
        self._mean = int(operator.outputs[0])

    def _moved(self, operator: Any) -> None:
        """What leaves the numbers what they are; in front of all layers it can only be what puts them on a grid."""
        if self._mean >= 0:
            return
        name = operator_name(self._model, operator)
        if self._body or name != "QUANTIZE":
            raise UnfitFileError(f"{name} before its mean over the image")
        self._input = int(operator.outputs[0])

    def _last(self, operator: Any) -> None:
        if not self._behind or getattr(operator.builtinOptions, "beta", None) != 1:
            raise UnfitFileError("a softmax of something else than its logits")
        self._softmax = True

    def _image(self) -> tuple[int, int, int, int]:
        """The shape of the tensor that is at hand, of images."""
        shape = self._graph.tensors[self._current].shape
        sides = () if shape is None else tuple(map(int, shape))
        if len(sides) != 4 or min(sides) < 1:
            raise UnfitFileError(f"a tensor of shape {sides} where images are expected")
        return sides[0], sides[1], sides[2], sides[3]

    def _is_constant(self, index: int) -> bool:
        return index >= 0 and stored_numbers(self._model, self._graph.tensors[index]) is not None

    def _constant(self, operator: Any, place: int) -> Any:
        """The tensor of an operator's constant."""
        index = int(operator.inputs[place]) if place < len(operator.inputs) else -1
        index = self._packed.get(index, index)
        if not self._is_constant(index):
            raise UnfitFileError(f"{operator_name(self._model, operator)} without a constant where one is expected")
        return self._graph.tensors[index]

    def _stored(self, operator: Any, place: int) -> np.ndarray:
        numbers = stored_numbers(self._model, self._constant(operator, place))
        return np.zeros(0) if numbers is None else numbers

    def _real(self, tensor: Any) -> np.ndarray:
        numbers = real_numbers(self._model, tensor)
        if numbers is None:
            raise UnfitFileError("whole numbers without a scale")
        return numbers

    def _kernel(self, operator: Any, rank: int) -> np.ndarray:
        numbers = self._real(self._constant(operator, 1))
        if numbers.ndim != rank:
            raise UnfitFileError(f"a kernel of shape {numbers.shape}")
        return numbers

    def _bias(self, operator: Any) -> np.ndarray | None:
        if len(operator.inputs) < 3 or operator.inputs[2] < 0:
            return None
        return self._real(self._constant(operator, 2))

    def _grid(self, index: int) -> Grid | None:
        tensor = self._graph.tensors[index]
        scales, shift = scales_of(tensor), _ZERO_POINT_SHIFTS.get(type_name(tensor))
        if scales is None or shift is None or scales.scale.size != 1:
            return None
        return Grid(float(scales.scale.item()), int(scales.zero.item()) - shift)


def _option(operator: Any, name: str) -> int:
    """A number among an operator's options."""
    value = getattr(operator.builtinOptions, name, None)
    if not isinstance(value, int):
        raise UnfitFileError(f"an operator without {name}")
    return value
