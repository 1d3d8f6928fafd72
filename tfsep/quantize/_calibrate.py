"""Quantization of a trained model by samples of its data, without labels and without training."""

import logging
import operator
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property

from tfsep._keras.foreign_state import foreign_state_kept
from tfsep._keras.model_graph import calls_behind
from tfsep._keras.training_statistics import unlike_training
from tfsep._keras.types import Data, Model
from tfsep._utils.arguments import short_repr
from tfsep._utils.progress import progress_bar
from tfsep.quantize._activation_quantizer import ActivationQuantizer
from tfsep.quantize._adaptive_rounding import LearnedRounding, round_adaptively
from tfsep.quantize._bias_correction import correct_biases, correct_biases_analytically
from tfsep.quantize._calibrated_model import Calibrated
from tfsep.quantize._calibration_report import CalibrationReport, CalibrationRow, RoundedLayer
from tfsep.quantize._calibration_samples import CalibrationSamples
from tfsep.quantize._calibration_settings import (
    ADAPTIVE,
    ANALYTIC,
    CALIBRATION_ARGUMENTS,
    CalibrationSettings,
    Latency,
    Option,
)
from tfsep.quantize._channel_pairs import channel_pairs
from tfsep.quantize._config import Config, config_of
from tfsep.quantize._equalization import ChannelRange, equalized
from tfsep.quantize._float_choice import within_budget
from tfsep.quantize._histogram import Histogram
from tfsep.quantize._logits import outputs_without
from tfsep.quantize._output_agreement import ComparedTensors, OutputAgreement
from tfsep.quantize._prepare import prepare
from tfsep.quantize._prepared_model import require_input_ranges, require_prepared
from tfsep.quantize._quantized_matmul import QuantizedMatmul
from tfsep.quantize._range_choice import BEST, RANGE_METHODS
from tfsep.quantize._real_results import PIXELS, RealResults, real_results
from tfsep.quantize._unknown_layers import UnknownLayersError
from tfsep.quantize._weight_scales import MAX, MOMENTS, narrow_weight_scales

_logger = logging.getLogger(__name__)


def calibrate(
    model: Model,
    data: Data,
    method: str = "best",
    equalize: bool = True,
    correct_bias: bool | str = True,
    weight_scales: str = "max",
    rounding: str = "nearest",
    steps: int = 500,
    samples: int = 256,
    batch_size: int = 32,
    seed: int = 0,
    keep_float: Collection[str] = (),
    budget: float | None = None,
    latency: Latency | None = None,
    report: Callable[[CalibrationReport], object] | None = None,
    config: Config | None = None,
    **options: Option,
) -> Model:
    """Return a prepared model that is quantized by samples of its data, without labels and without training.

    It is `prepare` and, in place of `observe`, ranges that lose least. The result is exact as every prepared model: its
    int8 file computes the same, and it may be fine-tuned. The same arguments give the same result to the bit. What was
    changed, and what it gained, goes to the logger ``tfsep`` once.

    Args:
        model: a float model that was built, trained, channels last; it is not changed.
        data: an array (N, ...) of its input, a tuple, list or dict of arrays for several inputs; an iterable of such
            batches, a ``tf.data.Dataset`` or a generator, with labels or without; or a function without arguments that
            returns one. It is read once.
        method: how the range of an activation is chosen: ``"minmax"``, all that was seen; ``"mse"``,
            the range with the least mean squared error; ``"percentile"``, all but one number of 10,000 on each side;
            ``"entropy"``, the range whose quantized distribution diverges least from that of the numbers; or
            ``"best"``, the one of these with the best outputs on the samples, or logits where outputs are those of a
            softmax. Results that share a range have one histogram; ranges that runtimes fix stay, and inputs have all
            that was seen, as others may come.
        equalize: whether channels are scaled across layers first, between a convolution or dense layer and those that
            take its rectified result, so that those of small numbers keep more of their 8 bits; what residual blocks
            add shares one scale a channel. What all numbers of a channel exceed is absorbed by the next biases. In real
            numbers the model computes the same on the data. It is undone where the outputs are worse for it.
        correct_bias: whether the mean error of each channel is taken away from its bias: True or ``"empirical"``, layer
            by layer, as the samples show it; ``"analytic"``, that of rounded kernels alone, by the statistics of batch
            normalization; or False. It is undone where it does harm, as all that follows.
        weight_scales: the scale of each filter: by its largest weight, ``"max"``; by the least mean squared error of
            its weights, ``"mse"``; or of its products, ``"moments"``, by the mean squares of what they multiply.
        rounding: how weights become integers: each to the ``"nearest"`` one; or ``"adaptive"``, up or down as each
            layer learns, one after the other, on what it will get in integers, so that its results are those of real
            numbers. A filter that gains nothing on a quarter of the samples, which it does not learn on, stays at the
            nearest. Kernels of the returned model are integers times their scales then. It takes minutes.
        steps: steps of learning, of each layer.
        samples: most samples. Of more, as many are drawn at random, so that memory does not grow with the data.
        batch_size: samples per step; a model with a batch of its own takes that.
        seed: seed of that draw, and of those of learning.
        keep_float: names of operations that stay in float32, besides those of `Config.float_layers`: any that
            `coverage` lists.
        budget: the least agreement with the float model on the samples, in (0, 1]: where each output is a row of
            classes, (N, classes), the share of samples with the same class in each; for other outputs 1 − the relative
            error, the root mean square of the error over that of the outputs. Operations stay in float32 as it takes,
            and as few and as cheap ones as the search finds, which goes by `sensitivity`; the report names them. None
            for all in int8.
        latency: by the name of an operation, how much longer it takes in float32 than in int8, in any unit, as
            `tfsep.tflite.float_latency` measures it, for `budget` to weigh what it keeps; or a function of names that
            returns this, called where int8 alone does not meet the budget. None for its multiply-accumulates and the
            numbers of its result, one each, which no other run measures otherwise.
        report: a function that is called with the `CalibrationReport`; None for none.
        config: the settings of `prepare`; None for `Config`'s defaults.
        **options: fields of `Config`, in place of those of `config`.

    Returns:
        The prepared model.

    Raises:
        TypeError: for what `prepare` refuses, or data that are no arrays of samples.
        ValueError: for what `prepare` refuses; an unknown method; a name that nothing has; a budget that is not met
            with all but one operation in float32, with the one that is; data of another shape, with NaN or infinity,
            without samples, of constant samples only, or of only zeros for an input; a model with nothing in
            integers.

    Source: M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv
    1906.04721); the same, "Up or Down? Adaptive Rounding for Post-Training Quantization" (arXiv 2004.10568); S.
    Migacz, "8-bit Inference with TensorRT" (GTC 2017), for the divergence.

    Examples:
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.ReLU()])
        >>> images = np.random.default_rng(0).normal(size=(16, 8, 8, 3)).astype("float32")
        >>> reports = []
        >>> quantized = calibrate(model, images, method="mse", report=reports.append)
        >>> bool(np.abs(quantized(images) - model(images)).max() < 0.2), [row.part for row in reports[0].rows]
        (True, ['ranges: minmax', 'equalization', 'ranges: mse', 'bias correction'])
    """
    settings = CalibrationSettings(
        *(method, equalize, correct_bias, weight_scales, rounding, steps, samples, batch_size),
        *(seed, keep_float, budget, latency),
    )
    if not (report is None or callable(report)):
        raise TypeError(f"report: expected a function of the report, or None, got {short_repr(report)}")
    made = calibrated(model, data, settings, config_of(config, options, CALIBRATION_ARGUMENTS))
    if report is not None:
        report(made.report)
    return made.model


def calibrated(model: Model, data: Data, settings: CalibrationSettings, config: Config) -> Calibrated:
    """Calibrate a model, with as much of it in float32 as the budget asks for, and log what was done."""
    made = calibrated_once(model, data, settings, config)
    if settings.budget is not None:

        def again(names: Sequence[str]) -> Calibrated:
            kept = replace(settings, keep_float=(*settings.keep_float, *names))
            return calibrated_once(model, made.samples, kept, config, made.roundings)

        made = within_budget(made, settings.budget, settings.latency, again)
    _logger.info("%s is calibrated on %d samples:\n%s", made.model.name, made.report.samples, made.report)
    return made


def calibrated_once(
    model: Model,
    data: Data | CalibrationSamples,
    settings: CalibrationSettings,
    config: Config,
    roundings: dict[str, LearnedRounding] | None = None,
) -> Calibrated:
    """Calibrate a model, on data that are read, or on samples that were drawn for a model of the same inputs.

    Args:
        model: the float model.
        data: the data, or the samples.
        settings: how to calibrate.
        config: the settings of `prepare`.
        roundings: those of layers that were learned before, see `round_adaptively`; None for none.
    """
    try:
        prepared = prepare(model, config, float_layers=(*config.float_layers, *settings.keep_float))
    except UnknownLayersError as error:
        raise error.of("keep_float") if error.names[0] in settings.keep_float else error from None
    require_prepared(prepared)
    with foreign_state_kept(prepared):
        if isinstance(data, CalibrationSamples):
            samples = data.shown_to(prepared)
        else:
            samples = CalibrationSamples(prepared, data, settings.samples, settings.batch_size, settings.seed)
            if note := unlike_training(lambda: samples.run_first(model), f"data, {samples.first_range()}"):
                _logger.warning(note)
        made = _Calibration(samples, settings, {} if roundings is None else roundings)
        made.choose_ranges("minmax")
        require_input_ranges(prepared)
        if settings.equalize:
            made.equalize()
        real = {layer.name: layer.get_weights() for layer in prepared.layers if isinstance(layer, QuantizedMatmul)}
        if settings.method != "minmax":
            made.choose_ranges(settings.method)
        if settings.weight_scales != MAX:
            made.narrow_weight_scales()
        if settings.rounding == ADAPTIVE:
            made.round_adaptively()
        if settings.correct_bias:
            made.correct_biases()
        found = made.agreement()
    rows, layers = tuple(made.rows), tuple(made.layers)
    report = CalibrationReport(rows, samples.count, found.agreement, found.unit, layers=layers)
    return Calibrated(prepared, report, samples, real, made.roundings)


class _Calibration:
    """A prepared model in the course of its calibration.

    Attributes:
        samples: the samples, and the model.
        rows: those of the report, so far.
        layers: those whose rounding was learned.
        roundings: by name, what was learned, in former calibrations too.
    """

    def __init__(
        self, samples: CalibrationSamples, settings: CalibrationSettings, roundings: dict[str, LearnedRounding]
    ) -> None:
        self.samples, self._settings, self.roundings = samples, settings, roundings
        self.rows: list[CalibrationRow] = []
        self.layers: list[RoundedLayer] = []
        self._quantizing = [
            call for call in calls_behind(samples.model.outputs) if isinstance(call.operation, ActivationQuantizer)
        ]
        inputs = [id(tensor) for tensor in samples.model.inputs]
        self._of_inputs = {call.operation.name for call in self._quantizing if id(call.inputs[0]) in inputs}
        outputs, logits = samples.model.outputs, outputs_without(samples.model, "softmax")
        self._outputs = ComparedTensors(samples, outputs)
        # Of probabilities a few samples near a border decide, for these samples alone.
        is_same = all(map(operator.is_, logits, outputs))
        self._logits = self._outputs if is_same else ComparedTensors(samples, logits)
        self._histograms = self._counted()

    def choose_ranges(self, method: str) -> None:
        """Set the ranges by a method, or by the one with the best outputs."""
        tried = list(RANGE_METHODS) if method == BEST else [method]
        ratios = {}
        with progress_bar("ranges", len(tried)) as advance:
            for name in tried:
                self._set_ranges(name)
                ratios[name] = self._ratio()
                advance()
        best = max(tried, key=ratios.__getitem__)
        narrowed, of = self._set_ranges(best), f"{len(self._histograms)} ranges"
        changed = of if best == "minmax" else f"{narrowed} of {of} narrowed"
        if len(tried) > 1:
            changed += f", the best of {', '.join(tried)}"
        self._add(f"ranges: {best}", changed, ratios[best])

    def equalize(self) -> None:
        """Equalize channels across layers, and set the whole ranges that come of it."""
        pairs, former = channel_pairs(self.samples.model), self._histograms
        if not pairs:
            self._add("equalization", "no pairs of layers", self.rows[-1].after)
            return
        with self._undone_if_worse("equalization") as changes:
            members = [member.call.outputs[0] for pair in pairs for member in pair.members]
            results = self.samples.results(members, is_real=True)
            done = equalized(pairs, ChannelRange.of_results(results))
            self._histograms = self._counted()
            self._set_ranges("minmax")
            changes += [f"{done.pairs} pairs of layers", f"{done.absorbed} channels absorbed"]
            if done.groups:
                changes.append(f"{done.groups} groups that residual sums tie")
            if done.saturating:
                changes.append(f"{done.saturating} that saturate left")
        if self.rows[-1].is_undone:
            self._histograms = former

    @cached_property
    def _reals(self) -> list[RealResults]:
        """What the layers compute in real numbers: first asked for behind equalization, in front of all rounding."""
        settings = self._settings
        learns = settings.rounding == ADAPTIVE or settings.weight_scales == MOMENTS
        return real_results(self.samples, settings.seed, PIXELS if learns else 0)

    def round_adaptively(self) -> None:
        """Learn the rounding of the kernels."""
        reals, settings = self._reals, self._settings
        layers = len({real.call.layer.name for real in reals})
        with (
            self._undone_if_worse("adaptive rounding") as changes,
            progress_bar("adaptive rounding", layers) as advance,
        ):
            done = round_adaptively(self.samples, reals, settings.steps, settings.seed, self.roundings, advance)
            count, weights = (sum(getattr(each, name) for each in done) for name in ("changed", "weights"))
            better = sum(each.after < each.before for each in done)
            changes.append(f"{count} of {weights} weights not to the nearest, {better} of {layers} layers")
        if not self.rows[-1].is_undone:
            self.layers += done

    def narrow_weight_scales(self) -> None:
        """Choose the scales of the kernels' filters by their error."""
        by = self._settings.weight_scales
        with self._undone_if_worse(f"weight scales: {by}") as changes:
            done = narrow_weight_scales(self.samples, self._reals, by)
            changes.append(f"{done.filters} of {done.of} filters narrowed")
            if done.filters:
                changes.append(f"to {done.least:.0%} at least")

    def correct_biases(self) -> None:
        """Correct the biases by their channels' means."""
        analytically = self._settings.correct_bias == ANALYTIC
        with self._undone_if_worse("bias correction") as changes:
            correct = correct_biases_analytically if analytically else correct_biases
            done = correct(self.samples, self._reals)
            if analytically:
                changes.append(f"analytic, means of {done.unknown} layers not known")
            changes.append(f"biases of {done.layers} layers by at most {done.largest:.2g}")
            if done.without_bias:
                changes.append(f"{len(done.without_bias)} layers have none")

    @contextmanager
    def _undone_if_worse(self, part: str) -> Iterator[list[str]]:
        """Add a row for what is changed, in the words of the list; what lowers the ratio is put back."""
        weights, changes = self.samples.model.get_weights(), list[str]()
        yield changes
        before, after = self.rows[-1].after, self._ratio()
        if is_undone := after < before:
            self.samples.model.set_weights(weights)
            changes.append(f"undone: {after:.2f} dB")
        self._add(part, ", ".join(changes), before if is_undone else after, is_undone)

    def agreement(self) -> OutputAgreement:
        """How well the outputs agree with those of the float model."""
        return self._outputs.agreement()

    def _ratio(self) -> float:
        """The signal-to-quantization-noise ratio of the outputs, and of logits in place of probabilities."""
        return self._logits.agreement().sqnr

    def _set_ranges(self, method: str) -> int:
        """Set the ranges by a method, those of inputs whole, and return how many are narrower than the numbers."""
        chosen = {
            name: RANGE_METHODS["minmax" if name in self._of_inputs else method](histogram)
            if histogram.low < histogram.high
            else (0.0, 0.0)
            for name, histogram in self._histograms.items()
        }
        for call in self._quantizing:
            if call.operation.name in chosen:
                call.operation.set_range(*chosen[call.operation.name])
        return sum(chosen[name] != (own.low, own.high) for name, own in self._histograms.items())

    def _counted(self) -> dict[str, Histogram]:
        """The histogram of each range, by the name of its layer."""
        own = [call for call in self._quantizing if call.operation.fixed_range is None]
        histograms = {call.operation.name: Histogram() for call in own}
        for results in self.samples.results([call.outputs[0] for call in own], is_real=True):
            for call, numbers in zip(own, results, strict=True):
                histograms[call.operation.name].add(numbers)
        return histograms

    def _add(self, part: str, changed: str, after: float, is_undone: bool = False) -> None:
        """Add a row to the report."""
        before = self.rows[-1].after if self.rows else None
        self.rows.append(CalibrationRow(part, changed, before, after, is_undone))
