"""Reader of the network in a ``.tflite`` file, operator by operator.

A MobileNet in a file is a chain: convolutions with fused activations, a mean over the image, a classifier, a softmax.
The input of a block may be added to the result of its last convolution. Any other operator is refused by name.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tfsep._flatbuffer.constants import is_stored, real_numbers, scales_of, stored_numbers, unpacked_constants
from tfsep._flatbuffer.reader import operator_name, type_name
from tfsep.defs import LayerDef
from tfsep.defs._layer_def import LayerOp
from tfsep.geometry import Padding, Pads, Pair
from tfsep.weights._conv_bn_stages import SourceStage
from tfsep.weights._tflite_network import FileLayer, FileNetwork, QParams, UnsupportedFileError

_MAX_LAYERS = 300
"""MobileNet v1 has 28; a Keras model of many more takes minutes to build."""

_PADDINGS: dict[int, Padding] = {0: "same", 1: "valid"}
_ACTIVATIONS = {0: "linear", 1: "relu", 3: "relu6"}
_ZERO_POINT_SHIFTS = {"int8": 0, "uint8": 128}
"""The difference of a stored zero point to that of int8."""


class NetworkReader:
    """Follows a file's main graph from its input to its output.

    Args:
        model: the file's content.
    """

    def __init__(self, model: Any) -> None:
        self._model, self._graph = model, model.subgraphs[0]
        self._readers: dict[str, Callable[[Any], None]] = {
            "CONV_2D": self._convolution,
            "DEPTHWISE_CONV_2D": self._convolution,
            "ADD": self._residual_sum,
            "FULLY_CONNECTED": self._dense,
            "PAD": self._pad,
            "AVERAGE_POOL_2D": self._average,
            "MEAN": self._average,
            "RESHAPE": self._pass_through,
            "SQUEEZE": self._pass_through,
            "QUANTIZE": self._pass_through,
            "DEQUANTIZE": self._pass_through,
            "SOFTMAX": self._softmax_operator,
        }
        # The tensor that the next operator must take, the pads that a PAD put around it, and what it was before; then
        # the layers, what each of them took, and the quantization parameters of each result.
        self._current = -1
        self._pads: Pads | None = None
        self._unpadded = -1
        self._body: list[FileLayer] = []
        self._sources: list[int] = []
        self._results: list[QParams | None] = []
        self._classifiers: list[FileLayer] = []
        self._input = self._pooled = -1
        self._softmax = False
        self._unpacked = unpacked_constants(model, self._graph)

    @property
    def operators(self) -> list[Any]:
        """The operators, in order, but for those that unpack constants."""
        return [
            operator
            for operator in self._graph.operators or []
            if not (len(operator.outputs) and int(operator.outputs[0]) in self._unpacked)
        ]

    def body(self, operators: Sequence[Any]) -> FileNetwork:
        """Return the network of the first operators, up to features.

        Args:
            operators: the operators.
        """
        shape, _ = self._read(operators)
        if self._pooled >= 0 or not self._body:
            raise UnsupportedFileError("no convolutions in front of its head")
        return self._network(shape, [self.qparams(self._input), *self._results])

    def layer(self, operator: Any) -> FileLayer:
        """Return the convolution of an operator, whatever is in front of it.

        Args:
            operator: the operator.
        """
        self._current, self._pooled = int(operator.inputs[0]), -1
        self._convolution(operator)
        return self._body.pop()

    def network(self) -> FileNetwork:
        """Return the network of all operators."""
        shape, last = self._read(self.operators)
        if self._pooled < 0 or not self._body or self._current != last:
            raise UnsupportedFileError("no mean over the image behind convolutions, as its end")
        if any(layer.activation != "linear" for layer in self._classifiers):
            raise UnsupportedFileError("an activation behind its classifier")
        qparams = [self.qparams(self._input), *self._results, self.qparams(self._pooled)]
        return self._network(shape, [*qparams, *(layer.qparams for layer in self._classifiers)])

    def _read(self, operators: Sequence[Any]) -> tuple[tuple[int, int, int], int]:
        """Read operators, and return the shape of the input and the output."""
        ends = [[] if side is None else list(map(int, side)) for side in (self._graph.inputs, self._graph.outputs)]
        if any(len(side) != 1 or side[0] < 0 for side in ends):
            raise UnsupportedFileError(f"{len(ends[0])} inputs and {len(ends[1])} outputs")
        (self._input,), (last,) = ends
        self._current = self._input
        _, rows, columns, channels = self._image_shape()
        for operator in operators:
            self._read_operator(operator)
        return (rows, columns, channels), last

    def _network(self, shape: tuple[int, int, int], qparams: Sequence[QParams | None]) -> FileNetwork:
        known = tuple(each for each in qparams if each is not None)
        return FileNetwork(
            shape,
            tuple(self._body),
            self._classifiers[0] if self._classifiers else None,
            self._softmax,
            known if len(known) == len(qparams) else None,
        )

    def _read_operator(self, operator: Any) -> None:
        """Read one operator, whose input must be the output of the one before."""
        name = operator_name(self._model, operator)
        if name not in self._readers:
            raise UnsupportedFileError(f"{name} in it")
        taken = [int(index) for index in operator.inputs]
        follows = self._current in taken if name == "ADD" else taken[:1] == [self._current]
        if not follows or len(operator.outputs) != 1:
            raise UnsupportedFileError(f"{name} that does not follow what is before it")
        if self._pads is not None and self._readers[name] != self._convolution:
            raise UnsupportedFileError(f"{name} behind PAD")
        if self._softmax and self._readers[name] != self._pass_through:
            raise UnsupportedFileError(f"{name} behind its softmax")
        self._readers[name](operator)
        self._current = int(operator.outputs[0])

    def _convolution(self, operator: Any) -> None:
        _, height, width, channels = self._image_shape()
        kernel = np.moveaxis(self._kernel(operator, 4), 0, 3)
        depthwise = operator_name(self._model, operator) == "DEPTHWISE_CONV_2D"
        if kernel.shape[2] != channels or (depthwise and kernel.shape[3] != 1):
            raise UnsupportedFileError(f"a kernel of {kernel.shape[2:]} on {channels} channels")
        stride, rate = (
            (option_of(operator, f"{word}H{suffix}"), option_of(operator, f"{word}W{suffix}"))
            for word, suffix in (("stride", ""), ("dilation", "Factor"))
        )
        if min(*stride, *rate, *kernel.shape) < 1:
            raise UnsupportedFileError(f"strides {stride} and rates {rate}")
        padding = _PADDINGS.get(option_of(operator, "padding"), "same")
        if self._pads is not None:
            if padding != "valid":
                raise UnsupportedFileError("a convolution that pads behind PAD")
            (top, bottom), (left, right) = padding = self._pads
            self._pads = None
            height, width = height - top - bottom, width - left - right
        if min(height, width) < 1:
            raise UnsupportedFileError(f"PAD of {padding} around nothing")
        op: LayerOp = "depthwise_conv2d" if depthwise else "conv2d"
        depth = None if depthwise else kernel.shape[3]
        self._add(operator, op, kernel, (stride, rate, depth), padding, (height, width))

    def _dense(self, operator: Any) -> None:
        if option_of(operator, "weightsFormat"):
            raise UnsupportedFileError("shuffled weights")
        kernel = self._kernel(operator, 2).T[None, None]
        self._add(operator, "conv2d", kernel, ((1, 1), (1, 1), kernel.shape[3]), "valid", (1, 1))

    def _add(
        self, operator: Any, op: LayerOp, kernel: np.ndarray, window: Any, padding: Padding, size: tuple[int, int]
    ) -> None:
        """Add a layer to the body, or as the classifier."""
        layers, most = (self._body, _MAX_LAYERS) if self._pooled < 0 else (self._classifiers, 1)
        if len(layers) == most:
            raise UnsupportedFileError(
                f"over {most} layers with kernels {'before' if self._pooled < 0 else 'behind'} its mean"
            )
        name = self._graph.tensors[int(operator.inputs[1])].name or b""
        name = name.decode(errors="replace").split(";")[0]
        activation = _ACTIVATIONS.get(option_of(operator, "fusedActivationFunction"))
        if activation is None:
            raise UnsupportedFileError(f"an activation behind {name} that is no ReLU and no ReLU6")
        definition = LayerDef(name, op, kernel.shape[:2], *window)
        stage = SourceStage(name, kernel, op == "depthwise_conv2d", self._bias(operator))
        qparams, taken = self.qparams(int(operator.outputs[0])), self.qparams(self._current)
        scale = None if taken is None else taken.scale
        scales = scales_of(self._constant(operator, 1))
        own = None if scales is None else scales.scale.reshape(-1)
        layers.append(FileLayer(definition, stage, padding, size, activation, qparams, scale, kernel_scales=own))
        if layers is self._body:
            self._sources.append(self._current if self._unpadded < 0 else self._unpadded)
            self._results.append(qparams)
        self._unpadded = -1

    def _residual_sum(self, operator: Any) -> None:
        first, second = (*map(int, operator.inputs), -1, -1)[:2]
        other = second if first == self._current else first
        shapes = [np.asarray(self._graph.tensors[index].shape).tolist() for index in (self._current, other)]
        if other not in self._sources or self._pooled >= 0 or shapes[0] != shapes[1]:
            raise UnsupportedFileError("ADD of something else than a block's input")
        if option_of(operator, "fusedActivationFunction"):
            raise UnsupportedFileError("an activation behind ADD")
        start = max(place for place, source in enumerate(self._sources) if source == other)
        self._body[-1] = replace(self._body[-1], added=len(self._body) - start)
        self._results.append(self.qparams(int(operator.outputs[0])))

    def _pad(self, operator: Any) -> None:
        pads = self._stored_numbers(operator, 1)
        if pads.shape != (4, 2) or pads.dtype.kind != "i" or pads.min() < 0 or pads[[0, 3]].any():
            raise UnsupportedFileError("PAD of other axes than rows and columns")
        (top, bottom), (left, right) = pads[1:3].tolist()
        self._pads, self._unpadded = ((top, bottom), (left, right)), self._current

    def _average(self, operator: Any) -> None:
        if self._pooled >= 0:
            raise UnsupportedFileError("two means over the image")
        if operator_name(self._model, operator) == "MEAN":
            whole = sorted(self._stored_numbers(operator, 1).reshape(-1).tolist()) == [1, 2]
        else:
            window = option_of(operator, "filterHeight"), option_of(operator, "filterWidth")
            plain = option_of(operator, "padding") == 1 and option_of(operator, "fusedActivationFunction") == 0
            whole = plain and window == self._image_shape()[1:3]
        if not whole:
            raise UnsupportedFileError("a mean that is not over the whole image")
        self._pooled = int(operator.outputs[0])

    def _pass_through(self, operator: Any) -> None:
        """Read an operator that changes no values; before the layers, only the input's quantization."""
        if self._pooled >= 0:
            return
        name = operator_name(self._model, operator)
        if self._body or name != "QUANTIZE":
            raise UnsupportedFileError(f"{name} before its mean over the image")
        self._input = int(operator.outputs[0])

    def _softmax_operator(self, operator: Any) -> None:
        if not self._classifiers or getattr(operator.builtinOptions, "beta", None) != 1:
            raise UnsupportedFileError("a softmax of something else than its logits")
        self._softmax = True

    def _image_shape(self) -> tuple[int, int, int, int]:
        """The shape of the current tensor, (N, H, W, C)."""
        shape = self._graph.tensors[self._current].shape
        sides = () if shape is None else tuple(map(int, shape))
        if len(sides) != 4 or min(sides) < 1:
            raise UnsupportedFileError(f"a tensor of shape {sides} where images are expected")
        return sides[0], sides[1], sides[2], sides[3]

    def image_size(self, index: int) -> Pair:
        """Return rows and columns of a tensor of images.

        Args:
            index: number of the tensor.
        """
        self._current = index
        return self._image_shape()[1:3]

    def _is_constant(self, index: int) -> bool:
        return index >= 0 and is_stored(self._model, self._graph.tensors[index])

    def _constant(self, operator: Any, place: int) -> Any:
        """The tensor of an operator's constant input."""
        index = int(operator.inputs[place]) if place < len(operator.inputs) else -1
        index = self._unpacked.get(index, index)
        if not self._is_constant(index):
            raise UnsupportedFileError(
                f"{operator_name(self._model, operator)} without a constant where one is expected"
            )
        return self._graph.tensors[index]

    def _stored_numbers(self, operator: Any, place: int) -> np.ndarray:
        numbers = stored_numbers(self._model, self._constant(operator, place))
        return np.zeros(0) if numbers is None else numbers

    def _real_numbers(self, tensor: Any) -> np.ndarray:
        numbers = real_numbers(self._model, tensor)
        if numbers is None:
            raise UnsupportedFileError("whole numbers without a scale")
        return numbers

    def _kernel(self, operator: Any, rank: int) -> np.ndarray:
        numbers = self._real_numbers(self._constant(operator, 1))
        if numbers.ndim != rank:
            raise UnsupportedFileError(f"a kernel of shape {numbers.shape}")
        return numbers

    def _bias(self, operator: Any) -> np.ndarray | None:
        if len(operator.inputs) < 3 or operator.inputs[2] < 0:
            return None
        return self._real_numbers(self._constant(operator, 2))

    def qparams(self, index: int) -> QParams | None:
        """Return the quantization parameters of a tensor of 8 bits; None for others.

        Args:
            index: number of the tensor.
        """
        tensor = self._graph.tensors[index]
        scales, shift = scales_of(tensor), _ZERO_POINT_SHIFTS.get(type_name(tensor))
        if scales is None or shift is None or scales.scale.size != 1:
            return None
        return QParams(float(scales.scale.item()), int(scales.zero.item()) - shift)


def option_of(operator: Any, name: str) -> int:
    """Return an integer among an operator's options, or a truth value."""
    value = getattr(operator.builtinOptions, name, None)
    if not isinstance(value, int):
        raise UnsupportedFileError(f"an operator without {name}")
    return value
