"""DeepLab v3 in a ``.tflite`` file: a chain of convolutions, branches that are joined, and classes of pixels.

The branches of its pyramid are found by what they consist of, whatever their order: a 1×1 convolution, dilated
separable ones, and the mean of the image.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from tfsep._flatbuffer.reader import operator_name
from tfsep.geometry import Pair
from tfsep.weights._tflite_network import FileLayer, FileNetwork, QParams, UnsupportedFileError
from tfsep.weights._tflite_reader import NetworkReader, option_of

_MEANS = ("AVERAGE_POOL_2D", "MEAN")
_RESIZE = "RESIZE_BILINEAR"


class Branch(NamedTuple):
    """A branch of the pyramid.

    Attributes:
        layers: its convolutions.
        pooled: whether it is of the image's mean.
        qparams: quantization parameters of that mean; None for floats, or another branch.
    """

    layers: tuple[FileLayer, ...]
    pooled: bool = False
    qparams: QParams | None = None

    @property
    def rate(self) -> int:
        """The rate of its depthwise convolution; 0 without one, infinitely large of the mean, as it stands last."""
        if self.pooled:
            return 10**9
        return self.layers[0].definition.rate[0] if len(self.layers) == 2 else 0


class FileSegmentation(NamedTuple):
    """The DeepLab v3 in a file.

    Attributes:
        body: the backbone.
        branches: the branches of the pyramid: the 1×1 convolution, those of rates, the mean.
        joined: quantization parameters of what joins them; None for floats.
        projection: the convolution behind that, its kernel in the order of `branches`.
        logits: the convolution to classes.
        size: rows and columns of the result.
        aligned: whether logits are interpolated with the corners where they are.
        end: ``"argmax"``, ``"softmax"``, or empty for logits.
    """

    body: FileNetwork
    branches: tuple[Branch, ...]
    joined: QParams | None
    projection: FileLayer
    logits: FileLayer
    size: Pair
    aligned: bool
    end: str

    @property
    def layers(self) -> tuple[FileLayer, ...]:
        """The convolutions of the head, in the order of `tfsep.models.deeplab_v3`."""
        return (*(layer for branch in self.branches for layer in branch.layers), self.projection, self.logits)

    @property
    def rates(self) -> tuple[int, ...]:
        """The rates of the pyramid."""
        return tuple(branch.rate for branch in self.branches if len(branch.layers) == 2)

    @property
    def stride(self) -> int:
        """The total stride of the backbone."""
        return -(-self.body.input_shape[0] // self.projection.size[0])

    @property
    def qparams(self) -> tuple[QParams, ...] | None:
        """Quantization parameters in the order of computation; None unless all have 8 bits."""
        inside = [branch.layers[0].qparams for branch in self.branches if len(branch.layers) == 2]
        means = [branch.qparams for branch in self.branches if branch.pooled]
        found = [self.joined, *inside, *means, self.projection.qparams, self.logits.qparams]
        known = tuple(each for each in found if each is not None)
        return None if self.body.qparams is None or len(known) < len(found) else (*self.body.qparams, *known)

    def quantized_to_int8(self) -> Self:
        """The network with its weights rounded to int8, see `FileLayer.quantized_to_int8`."""
        return self._replace(
            body=self.body.quantized_to_int8(),
            branches=tuple(
                branch._replace(layers=tuple(layer.quantized_to_int8() for layer in branch.layers))
                for branch in self.branches
            ),
            projection=self.projection.quantized_to_int8(),
            logits=self.logits.quantized_to_int8(),
        )


class SegmentationReader:
    """Follows a file's main graph back from its concatenation, and from there to its output.

    Args:
        model: the file's content.
    """

    def __init__(self, model: Any) -> None:
        self._model, self._graph = model, model.subgraphs[0]
        self._reader = NetworkReader(model)
        self._operators = self._reader.operators
        self._last = -1
        self._made_by = {int(output): each for each in self._operators for output in each.outputs}

    def segmentation(self) -> FileSegmentation:
        """Return the network of all operators."""
        joins = [operator for operator in self._operators if self._name(operator) == "CONCATENATION"]
        outputs = [] if self._graph.outputs is None else list(map(int, self._graph.outputs))
        if len(joins) != 1 or len(joins[0].inputs) < 2 or len(joins[0].outputs) != 1 or len(outputs) != 1:
            raise UnsupportedFileError(f"{len(joins)} concatenations and {len(outputs)} outputs")
        (join,), (self._last,) = joins, outputs
        paths = [list(self._path(int(tensor))) for tensor in join.inputs]
        common = set.intersection(*map(set, paths))
        features = next((tensor for tensor in paths[0] if tensor in common), None)
        if features is None or features not in self._made_by:
            raise UnsupportedFileError("branches that no convolution is in front of")
        end = self._operators.index(self._made_by[features]) + 1
        body = self._reader.body(self._operators[:end])
        branches = [
            self._branch([self._made_by[tensor] for tensor in reversed(path[: path.index(features)])]) for path in paths
        ]
        order = sorted(range(len(branches)), key=lambda place: branches[place].rate)
        ordered = tuple(branches[place] for place in order)
        _require_pyramid(ordered)
        behind = list(self._behind(int(join.outputs[0])))
        if [self._name(each) for each in behind[:2]] != ["CONV_2D", "CONV_2D"]:
            raise UnsupportedFileError("no two convolutions behind its concatenation")
        projection, logits = map(self._reader.layer, behind[:2])
        activations = {layer.activation for branch in branches for layer in branch.layers} | {projection.activation}
        if len(activations) != 1 or logits.activation != "linear":
            raise UnsupportedFileError("layers of several activations in its head")
        size, aligned, last = self._end(behind[2:], logits.size)
        starts = np.cumsum([0, *(branch.layers[-1].stage.channels for branch in branches)])
        places = np.concatenate([np.arange(starts[place], starts[place + 1]) for place in order])
        if len(places) != projection.stage.kernel.shape[2]:
            raise UnsupportedFileError("a concatenation of other axes than the channels")
        projection = projection.with_inputs(places)
        joined = self._reader.qparams(int(join.outputs[0]))
        return FileSegmentation(body, ordered, joined, projection, logits, size, aligned, last)

    def _path(self, tensor: int) -> Iterator[int]:
        """A tensor, and those that it is made of, by the first input of each operator."""
        for _ in range(len(self._operators) + 1):  # a damaged file may have a circle
            yield tensor
            if tensor not in self._made_by or not len(self._made_by[tensor].inputs):
                return
            tensor = int(self._made_by[tensor].inputs[0])

    def _behind(self, tensor: int) -> Iterator[Any]:
        """The operators behind a tensor, each the only one on what is before it."""
        for _ in self._operators:
            if tensor == self._last:
                return
            users = [each for each in self._operators if tensor in list(map(int, each.inputs))]
            if len(users) != 1 or len(users[0].outputs) != 1:
                raise UnsupportedFileError("branches behind its concatenation")
            yield users[0]
            tensor = int(users[0].outputs[0])

    def _branch(self, operators: Sequence[Any]) -> Branch:
        names = [self._name(operator) for operator in operators]
        kept = [each for each, name in zip(operators, names, strict=True) if name != "QUANTIZE"]
        match [self._name(operator) for operator in kept]:
            case ["CONV_2D"]:
                return Branch((self._reader.layer(kept[0]),))
            case ["DEPTHWISE_CONV_2D", "CONV_2D"]:
                return Branch(tuple(map(self._reader.layer, kept)))
            case [mean, "CONV_2D"] | [mean, "CONV_2D", "RESIZE_BILINEAR"] if mean in _MEANS:
                layer = self._reader.layer(kept[1])
                if layer.size != (1, 1):
                    raise UnsupportedFileError("a mean that is not over the whole image")
                return Branch((layer,), True, self._reader.qparams(int(kept[0].outputs[0])))
        raise UnsupportedFileError(f"a branch of {', '.join(names) or 'nothing'}")

    def _end(self, operators: Sequence[Any], size: Pair) -> tuple[Pair, bool, str]:
        """The size of the result, whether its corners are aligned, and what it ends with."""
        aligned, end = False, ""
        for operator in operators:
            name = self._name(operator)
            if name == _RESIZE and not end:
                rows, columns = self._reader.image_size(int(operator.outputs[0]))
                aligned = bool(option_of(operator, "alignCorners"))
                if (rows, columns) != size and not (aligned or option_of(operator, "halfPixelCenters")):
                    raise UnsupportedFileError(f"{name} that is neither of corners nor of edges")
                size = rows, columns
            elif name in ("ARG_MAX", "SOFTMAX") and not end:
                end = "argmax" if name == "ARG_MAX" else "softmax"
            elif name not in ("QUANTIZE", "DEQUANTIZE"):
                raise UnsupportedFileError(f"{name} behind its logits")
        return size, aligned, end

    def _name(self, operator: Any) -> str:
        return operator_name(self._model, operator)


def _require_pyramid(branches: Sequence[Branch]) -> None:
    """Raise for branches that are no pyramid: one without a rate, any with, and the mean, all of the same channels."""
    point, *rates, mean = branches
    plain = len(point.layers) == 1 and not point.pooled and mean.pooled
    if not plain or not all(len(branch.layers) == 2 for branch in rates):
        raise UnsupportedFileError("other branches than a 1×1 convolution, separable ones and the mean of the image")
    if len({branch.layers[-1].stage.channels for branch in branches}) != 1:
        raise UnsupportedFileError("branches of unlike channels")
    for branch in rates:
        own = branch.layers[0].definition
        if own.kernel != (3, 3) or own.stride != (1, 1) or own.rate[0] != own.rate[1]:
            raise UnsupportedFileError(f"a branch with a kernel of {own.kernel}, stride {own.stride}, rate {own.rate}")
