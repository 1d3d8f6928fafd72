"""What the layers with kernels of a prepared model compute in real numbers, kept while their kernels are rounded."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from tfsep._keras.backend import tf
from tfsep._keras.model_graph import Call, calls_behind
from tfsep._keras.types import Model, Tensor
from tfsep.quantize._activation_quantizer import ActivationQuantizer
from tfsep.quantize._activations import FUSED_ACTIVATIONS
from tfsep.quantize._calibration_samples import CalibrationSamples
from tfsep.quantize._inference_mode import real_numbers
from tfsep.quantize._kernel_rows import KernelRows
from tfsep.quantize._quantized_matmul import QuantizedMatmul
from tfsep.quantize._sample_run import SampleRun, run_calls
from tfsep.quantize._table_functions import TABLES

PIXELS = 4096
"""Output pixels of all samples that are enough to learn a layer's rounding on."""

_FUNCTIONS = ("sigmoid", "tanh", "hard_silu", "leaky_relu", "rectifier", "requantize", "multiply", "square", *TABLES)
"""Operations that compute each number by itself."""


@dataclass(frozen=True)
class Activated:
    """A call of a layer with a kernel, and the activation behind it.

    Attributes:
        call: the call of the layer.
        quantizing: that of the quantizer behind it.
        functions: those of functions of each number behind that, which make the activation; mostly none.
    """

    call: Call
    quantizing: Call
    functions: tuple[Call, ...]

    @property
    def layer(self) -> QuantizedMatmul:
        """The layer."""
        layer: QuantizedMatmul = self.call.operation
        return layer

    @property
    def result(self) -> Tensor:
        """The symbolic result of the activation."""
        return (self.functions or (self.quantizing,))[-1].outputs[0]

    @property
    def qparams(self) -> Tensor:
        """The symbolic quantization parameters of the quantizer."""
        return self.quantizing.outputs[1]

    def function(self, y: Tensor) -> Tensor:
        """Return what the functions make of numbers."""
        if not self.functions:
            return y
        known = dict.fromkeys((id(tensor) for call in self.functions for tensor in call.inputs), tf.zeros(2))
        known[id(self.quantizing.outputs[0])] = y
        with real_numbers():
            run_calls(self.functions, known)
        return known[id(self.result)]

    def limits(self, low: float, high: float) -> tuple[float, float]:
        """Return the least and the largest result of the quantizer, of which these are the range's ends."""
        fused = FUSED_ACTIVATIONS[self.quantizing.kwargs["fused_activation"]]
        return max(low, -np.inf if fused.low is None else fused.low), min(high, fused.high or np.inf)


class Pixels(NamedTuple):
    """Output pixels of one batch of samples, and results there.

    Attributes:
        samples: the number of each pixel's sample in its batch (R,).
        places: the number of the pixel in its sample (R,).
        results: (R, F).
    """

    samples: np.ndarray
    places: np.ndarray
    results: np.ndarray


class ChannelMeans:
    """Means of the channels of results (..., F), batch after batch."""

    def __init__(self) -> None:
        self._sum, self._count = np.zeros(()), 0

    def add(self, results: np.ndarray, scale: np.ndarray) -> None:
        """Add a batch of integers, of which `scale` (F,) are the units."""
        rows = results.reshape(-1, results.shape[-1])
        self._sum = self._sum + rows.sum(0, dtype="float64") * scale
        self._count += len(rows)

    @staticmethod
    def together(parts: "Sequence[ChannelMeans]") -> np.ndarray:
        """Return the means over all of some (F,), float64."""
        total: np.ndarray = np.sum([each._sum for each in parts], 0)
        return total / sum(each._count for each in parts)


class RealResults(NamedTuple):
    """A call of a layer with a kernel, and what it computes in real numbers at some pixels of the samples.

    Attributes:
        call: the call, with its activation.
        kernel: the layer's kernel in real numbers, with its normalization folded in.
        batches: the results of the activation, batch after batch.
        means: of the sums in front of the activation, of all pixels.
    """

    call: Activated
    kernel: np.ndarray
    batches: list[Pixels]
    means: ChannelMeans

    def products(self) -> KernelRows:
        """Return the products of the layer."""
        return KernelRows(self.call.layer.layer, self.call.call.inputs[0].shape[-1])


def activated_calls(model: Model) -> list[Activated]:
    """Return the calls of a prepared model's layers with kernels, in their order."""
    calls = list(calls_behind(model.outputs))
    users: dict[int, list[Call]] = {}
    for call in calls:
        for tensor in call.inputs:
            users.setdefault(id(tensor), []).append(call)
    outputs = {id(tensor) for tensor in model.outputs}
    found = []
    for call in calls:
        if isinstance(call.operation, QuantizedMatmul):
            (quantizing,) = users[id(call.outputs[0])]
            found.append(Activated(call, quantizing, _functions(quantizing.outputs[0], users, outputs)))
    return found


def _functions(tensor: Tensor, users: dict[int, list[Call]], outputs: set[int]) -> tuple[Call, ...]:
    """The calls that compute functions of each number of a tensor, as far as nothing else takes what is on the way."""
    made, found, closed = {id(tensor)}, list[Call](), 0
    waiting = [tensor]
    while waiting:
        for call in users.get(id(waiting.pop(0)), []):
            is_function = isinstance(call.operation, ActivationQuantizer) and call.kwargs["operation"] in _FUNCTIONS
            if is_function and call not in found and all(id(each) in made for each in call.inputs[::2]):
                found.append(call)
                made.add(id(call.outputs[0]))
                waiting.append(call.outputs[0])
                inner = made - {id(call.outputs[0])}
                if not inner & outputs and all(user in found for key in inner for user in users.get(key, [])):
                    closed = len(found)
    return tuple(found[:closed])


def real_results(samples: CalibrationSamples, seed: int, pixels: int = PIXELS) -> list[RealResults]:
    """Return what each layer with a kernel computes in real numbers, call after call.

    Args:
        samples: the samples, and the model.
        seed: of the choice of pixels, where there are more.
        pixels: output pixels of all samples at which a layer's results are kept, about; 0 for means alone.
    """
    calls = activated_calls(samples.model)
    found = [RealResults(each, np.asarray(each.layer.folded()[0], "float64"), [], ChannelMeans()) for each in calls]
    rngs = [np.random.default_rng([seed, number]) for number in range(len(calls))]
    most = -(-pixels // samples.count)
    tensors = [tensor for each in calls for tensor in (each.call.outputs[0], each.result)]
    for results in samples.results(tensors, is_real=True):
        for own, rng, sums, result in zip(found, rngs, results[::2], results[1::2], strict=True):
            own.means.add(sums, np.ones(1))
            own.batches.append(_chosen(rng, result.reshape(len(result), -1, result.shape[-1]), most))
    return found


_Seen = TypeVar("_Seen")


def in_turn(
    reals: Sequence[RealResults], run: SampleRun, look: Callable[[RealResults], _Seen]
) -> Iterator[tuple[RealResults, list[_Seen]]]:
    """Yield each layer when a run has reached its last call, with what there was to see at each of its calls.

    The layer may be changed then: results behind its former calls are computed again.

    Args:
        reals: the calls, in their order.
        run: the run.
        look: what to see at a call that the run has reached.
    """
    left = Counter(real.call.layer.name for real in reals)
    seen: dict[str, list[_Seen]] = defaultdict(list)
    for real in reals:
        name = real.call.layer.name
        run.reach(real.call.call)
        seen[name].append(look(real))
        left[name] -= 1
        if not left[name]:
            own = seen.pop(name)
            yield real, own
            if len(own) > 1:
                run.restart()


def _chosen(rng: np.random.Generator, results: np.ndarray, most: int) -> Pixels:
    """At most so many pixels of each sample, drawn at random, of results (N, P, F)."""
    count, pixels, _ = results.shape
    order = rng.random((count, pixels)).argsort(1, "stable")[:, :most]
    samples, places = np.repeat(np.arange(count), order.shape[1]), np.sort(order, 1).ravel()
    return Pixels(samples, places, results[samples, places])
