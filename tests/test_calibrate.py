"""`quantize.calibrate`: ranges, equalization across layers and bias correction, each beside loops in NumPy float64."""

import json
import re

import keras
import numpy as np
import pytest
from checks import assert_close, assert_refused
from quantize_networks import trained

from tfsep import quantize, tflite
from tfsep.quantize import _calibrate
from tfsep.quantize._bias_correction import Corrected, correct_biases
from tfsep.quantize._calibration_samples import CalibrationSamples
from tfsep.quantize._channel_pairs import channel_pairs
from tfsep.quantize._equalization import ChannelRange, Equalized, equalized
from tfsep.quantize._histogram import Histogram
from tfsep.quantize._inference_mode import real_numbers
from tfsep.quantize._range_choice import RANGE_METHODS
from tfsep.quantize._real_results import real_results

L = keras.layers
RNG = np.random.default_rng(5)
IMAGES = RNG.normal(size=(24, 8, 8, 3)).astype("float32")


def network(activation="relu", padding="same", uneven=True, lift=0.0):
    """Convolution → depthwise → convolution, with normalization; channels of unlike sizes in front of both."""
    inputs = keras.Input((8, 8, 3))
    x = inputs
    for layer in (
        L.Conv2D(8, 3, padding="same", use_bias=False),
        L.DepthwiseConv2D(3, padding=padding, use_bias=False),
    ):
        x = L.Activation(activation)(L.BatchNormalization()(layer(x)))
    x = L.Conv2D(6, 1, name="pointwise")(L.MaxPooling2D(2)(x))
    model = trained(keras.Model(inputs, L.Dense(4, name="head")(L.Flatten()(L.ReLU()(x)))), IMAGES)
    sizes = np.geomspace(1, 1 / 128, 8)
    norms = [layer for layer in model.layers if isinstance(layer, L.BatchNormalization)]
    takers = [
        next(layer for layer in model.layers if isinstance(layer, L.DepthwiseConv2D)),
        model.get_layer("pointwise"),
    ]
    for norm, taker in zip(norms, takers, strict=True):
        norm.beta.assign(np.abs(norm.beta) + lift)
        if uneven:
            norm.gamma.assign(norm.gamma * sizes)
            norm.beta.assign(norm.beta * sizes)
            taker.kernel.assign(taker.kernel / sizes[:, None])
    return model


def sqnr(expected, actual):
    expected, actual = (np.asarray(each, "float64") for each in (expected, actual))
    return 10 * np.log10(np.sum(expected**2) / np.sum((expected - actual) ** 2))


def ratios(model, **options):
    reports = []
    prepared = quantize.calibrate(model, IMAGES, report=reports.append, **options)
    return prepared, {row.part: row for row in reports[0].rows}


# Histograms and ranges.


def test_a_histogram_of_batches_is_that_of_all_numbers():
    numbers = np.concatenate([RNG.normal(size=900), 30 * RNG.normal(size=90), np.zeros(10)]).astype("float32")
    for order in (numbers, numbers[::-1], RNG.permutation(numbers)):
        histogram = Histogram()
        for part in np.array_split(order, 7):
            histogram.add(part)
        others = numbers[numbers != 0]
        assert (histogram.low, histogram.high, histogram.zeros) == (others.min(), others.max(), 10)
        counts, _ = np.histogram(others.astype("float64"), histogram.edges)
        assert histogram.counts.tolist() == counts.tolist()
        assert 2048 <= len(histogram.counts) <= 4096
        assert histogram.total == len(numbers)


def rounded(numbers, low, high):
    """Numbers in 8 bits over a range, with zero among its steps."""
    step = (high - low) / 255
    zero = np.clip(np.floor(0.5 - low / step), 0, 255)
    return (np.clip(np.round(numbers / step) + zero, 0, 255) - zero) * step


SAMPLES = {
    "normal": RNG.normal(size=20000),
    "rectified, heavy tails": np.maximum(RNG.standard_t(3, size=20000), 0),
    "an outlier": np.append(RNG.normal(size=20000), 20.0),
    "negative": -np.abs(RNG.laplace(size=20000)),
}


@pytest.mark.parametrize("case", SAMPLES)
def test_the_range_of_least_error_is_the_one_that_a_search_finds(case):
    numbers = SAMPLES[case].astype("float32").astype("float64")
    histogram = Histogram()
    histogram.add(numbers)
    shares = np.arange(1, 25) / 24
    tried = [(low * histogram.low, high * histogram.high) for low in shares for high in shares]
    errors = {ends: np.mean((numbers - rounded(numbers, *ends)) ** 2) for ends in set(tried)}
    found = np.mean((numbers - rounded(numbers, *RANGE_METHODS["mse"](histogram))) ** 2)
    assert found <= 1.05 * min(errors.values())
    # A wrong range is told from it.
    assert max(errors.values()) > 2 * found
    low, high = RANGE_METHODS["percentile"](histogram)
    # In a sorted list, two of 20,000 on each side are outside; an end is that of a bin.
    ordered, most = np.sort(numbers), int(1e-4 * len(numbers))
    assert 0 <= min(ordered[most], 0) - low <= histogram.width
    assert 0 <= high - max(ordered[-1 - most], 0) <= histogram.width
    assert RANGE_METHODS["minmax"](histogram) == (min(numbers.min(), 0), max(numbers.max(), 0))


def divergence(numbers, edges, reach):
    """That of the clipped counts of numbers from the ones that are rounded to 255 levels, bin by bin."""
    counts, _ = np.histogram(numbers, edges)
    kept = [i for i in range(len(counts)) if edges[i + 1] > -reach and edges[i] < reach]
    clipped, inside = counts[kept].astype(float), counts[kept].astype(float)
    clipped[0] += counts[: kept[0]].sum()
    clipped[-1] += counts[kept[-1] + 1 :].sum()
    levels = {}
    for place in range(len(kept)):
        levels.setdefault(place * 255 // len(kept), []).append(place)
    spread = np.zeros(len(kept))
    for places in levels.values():
        used = [place for place in places if clipped[place]]
        for place in used:
            spread[place] = sum(inside[places]) / len(used)
    used = clipped > 0
    q = (1 - 1e-4) * spread[used] / spread.sum() + 1e-4 / used.sum()
    p = clipped[used] / clipped.sum()
    return sum(a * np.log(a / b) for a, b in zip(p, q, strict=True))


def test_the_range_of_least_divergence_is_the_one_that_a_search_finds():
    numbers = np.abs(SAMPLES["an outlier"])
    histogram = Histogram()
    histogram.add(numbers)
    low, high = RANGE_METHODS["entropy"](histogram)
    assert low == 0
    assert 3 < high < 10
    found = divergence(numbers, histogram.edges, high)
    others = [divergence(numbers, histogram.edges, share * histogram.high) for share in (0.1, 0.25, 0.5, 1.0)]
    assert all(found <= other + 1e-9 for other in others)
    assert max(others) > 2 * found


# A calibrated model.


@pytest.fixture(scope="module")
def calibrated():
    model = network()
    return model, *ratios(model)


def test_the_file_of_a_calibrated_model_is_exact(calibrated, tmp_path):
    _, prepared, _ = calibrated
    assert tflite.export(prepared, tmp_path / "m.tflite", "int8", data=IMAGES).verification.differing == 0


def test_each_part_is_reported_and_helps(calibrated):
    model, prepared, rows = calibrated
    assert list(rows)[:2] == ["ranges: minmax", "equalization"]
    assert list(rows)[-1] == "bias correction"
    assert rows["equalization"].after > rows["equalization"].before + 6
    assert rows["bias correction"].after > rows["bias correction"].before - 0.1
    assert rows["bias correction"].after == pytest.approx(sqnr(model(IMAGES), prepared(IMAGES)), abs=0.05)
    observed = quantize.observe(quantize.prepare(model), IMAGES)
    assert rows["equalization"].before == pytest.approx(sqnr(model(IMAGES), observed(IMAGES)), abs=1)


def test_the_same_arguments_give_the_same_bits(calibrated):
    model, prepared, _ = calibrated
    again = quantize.calibrate(model, IMAGES)
    assert_close(again(IMAGES), prepared(IMAGES), 0)
    assert {weight.path: weight.numpy().tolist() for weight in again.weights} == {
        weight.path: weight.numpy().tolist() for weight in prepared.weights
    }


# Equalization.


def real(prepared, tensors=None):
    """The results of a prepared model, or of tensors in it, in real numbers."""
    part = keras.Model(prepared.inputs, prepared.outputs if tensors is None else tensors)
    with real_numbers():
        results = [np.asarray(each) for each in keras.tree.flatten(part([IMAGES]))]
    return results[0] if tensors is None else results


def pairs_of(prepared, images=IMAGES):
    """The pairs of a prepared model, and the ranges of their first results."""
    pairs = channel_pairs(prepared)
    results = CalibrationSamples(prepared, images, 64, 32, 0).results([pair.call.outputs[0] for pair in pairs], True)
    return pairs, ChannelRange.of_results(results)


def equalized_network(model, images=IMAGES):
    """A prepared model, equalized, with its pairs and what was changed."""
    prepared = quantize.prepare(model)
    pairs, ranges = pairs_of(prepared, images)
    return prepared, pairs, ranges, equalized(pairs, ranges)


def expected(pair, own):
    """What each channel exceeds on other data, and how far it reaches: of the range on these, and of normalization."""
    norm = pair.first.normalization
    if norm is None:
        return own.low / 2, np.minimum(2 * own.high, own.high.max())
    beta, gamma = np.asarray(norm.beta), np.abs(np.asarray(norm.gamma))
    far = np.maximum(own.high, beta + 8 * gamma)
    return np.maximum(np.minimum(own.low, beta - 8 * gamma), 0), np.minimum(far, own.high.max())


def test_equalization_leaves_the_function_and_has_the_scales_of_the_paper():
    model = network()
    before = real(quantize.prepare(model))
    assert_close(before, model(IMAGES), 1e-5)
    reaches = [expected(pair, own)[1] for pair, own in zip(*pairs_of(quantize.prepare(model)), strict=True)]
    prepared, pairs, ranges, done = equalized_network(model)
    assert (len(pairs), done.pairs) == (3, 3)
    assert_close(real(prepared), model(IMAGES), 1e-5)
    # A loop over channels: the depthwise one takes all to the largest range, the next one to √(range / weight's share);
    # a channel that reaches far in training has as much room.
    results = real(prepared, [pair.call.outputs[0] for pair in pairs])
    kernel = np.asarray(model.get_layer("pointwise").kernel, "float64")[0, 0]
    for place, result in enumerate(results[:2]):
        former, scales = ranges[place].high, []
        for channel in range(8):
            share = max(abs(kernel[channel, f]) / abs(kernel[:, f]).max() for f in range(6))
            scales.append(reaches[place][channel] if place == 0 else np.sqrt(reaches[place][channel] / share))
        largest = max(far / scale for far, scale in zip(reaches[place], scales, strict=True))
        assert_close(result.max((0, 1, 2)), former / np.array(scales) * max(reaches[place]) / largest, 1e-4)
        assert former.max() / former.min() > 20  # they were unlike


def test_a_wrong_scale_changes_the_function():
    """The check of the function finds a scale that one side does not have."""
    model = network()
    prepared, pairs, _, _ = equalized_network(model)
    gamma = pairs[0].first.normalization.gamma
    gamma.assign(gamma * np.linspace(1, 1.01, 8))
    with pytest.raises(AssertionError):
        assert_close(real(prepared), model(IMAGES), 1e-5)


def test_what_all_numbers_exceed_is_absorbed_where_nothing_is_padded():
    for padding, absorbs in (("valid", True), ("same", False)):
        model = network(padding=padding, uneven=False, lift=9.0)
        # What a channel exceeds on the samples is less certain than what its normalization says.
        shifts = [expected(pair, own)[0] for pair, own in zip(*pairs_of(quantize.prepare(model)), strict=True)]
        prepared, pairs, ranges, done = equalized_network(model)
        assert len(pairs) == 3
        assert ranges[0].low.min() > 1
        shifts[0] *= absorbs
        # Behind the depthwise one pooling passes what a convolution of one tap takes.
        assert done.absorbed == sum(np.sum(shift > 0) for shift in shifts) > 0
        assert_close(real(prepared), model(IMAGES), 1e-5)
        results = real(prepared, [pair.call.outputs[0] for pair in pairs[:2]])
        for own, shift, result in zip(ranges[:2], shifts[:2], results, strict=True):
            flat = result.reshape(-1, result.shape[-1])
            # Whatever the scales, the least number is the same share of the largest.
            assert_close(flat.min(0) * (own.high - shift), flat.max(0) * (own.low - shift), 1e-4)
    _, rows = ratios(network(padding="valid", uneven=False, lift=9.0), method="minmax", correct_bias=False)
    assert rows["equalization"].after > rows["equalization"].before + 3


def test_channels_that_saturate_keep_their_scale():
    model = network("relu6", lift=4.0)
    (pair, *_), (own, *_) = pairs_of(quantize.prepare(model))
    _, reaches = expected(pair, own)
    prepared, pairs, ranges, done = equalized_network(model)
    full = ranges[0].high >= 6
    assert 0 < full.sum() < 8
    assert done.saturating >= full.sum()
    assert_close(real(prepared), model(IMAGES), 1e-5)
    high = real(prepared, [pairs[0].call.outputs[0]])[0].max((0, 1, 2))
    assert_close(high[full], ranges[0].high[full], 1e-6)
    assert_close(high[~full], (6 / reaches * ranges[0].high)[~full], 1e-4)
    assert np.any(high[~full] > 1.01 * ranges[0].high[~full])


@pytest.mark.parametrize("saturates", [False, True])
def test_weights_of_channels_that_are_zero_take_no_scale_from_the_others(saturates):
    """Where channels between stay as they are, too."""
    model = network("relu6", uneven=False)
    norm = [layer for layer in model.layers if isinstance(layer, L.BatchNormalization)][1]
    kernel = model.get_layer("pointwise").kernel
    norm.beta.assign(np.where(np.arange(8) == 3, -50.0, norm.beta + 6.0 * saturates))
    kernel.assign(np.where(np.arange(8)[:, None] == 3, 1e3 * kernel, kernel))
    prepared, pairs, ranges, _ = equalized_network(model)
    assert ranges[1].high[3] == 0 < np.delete(ranges[1].high, 3).min()
    assert saturates == (np.delete(ranges[1].high, 3).min() == 6)
    assert_close(real(prepared), model(IMAGES), 1e-5)
    found = np.abs(np.asarray(pairs[1].paths[0].layer.layer.kernel, "float64"))[0, 0]
    assert found[3].max() <= 1.001 * np.delete(found, 3, 0).max()
    _, rows = ratios(model, method="minmax", correct_bias=False)
    assert rows["equalization"].before < 10
    assert rows["equalization"].after > 30


def test_results_that_anything_else_takes_are_left():
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(4, 3, padding="same", activation="relu", name="added")(inputs)
    y = L.Conv2D(4, 3, padding="same", activation="relu", name="equalized")(x)
    y = L.Conv2D(4, 1, activation="silu", name="silu")(y)
    x = L.Conv2D(4, 1, activation="relu", name="twice")(L.Add()([x, y]))
    shared = L.Conv2D(4, 1)
    branch = L.Conv2D(4, 1, activation="relu", name="branches")(x)
    outputs = [shared(x), L.Conv2D(2, 1)(branch), L.Conv2D(2, 3, groups=2)(branch)]
    model = trained(keras.Model(inputs, [*outputs, shared(outputs[0])]), IMAGES)
    prepared, pairs, _, done = equalized_network(model)
    assert [pair.first.name.removesuffix("_sums") for pair in pairs] == ["equalized", "branches"]
    assert (done.pairs, len(pairs[1].paths)) == (2, 2)
    with real_numbers():
        actual = prepared(IMAGES)
    for own, expected in zip(actual, model(IMAGES), strict=True):
        assert_close(own, expected, 1e-5)


def residual_network():
    """Two residual blocks, the first without an expansion, whose channels are of unlike sizes, and a third behind."""
    sizes = np.geomspace(1, 1 / 64, 6)
    inputs = keras.Input((8, 8, 3))
    x = L.BatchNormalization(name="n0")(L.Conv2D(6, 3, padding="same", use_bias=False, name="stem")(inputs))
    for block in (1, 2):
        y = x if block == 1 else L.Conv2D(8, 1, activation="relu", name="expand")(x)
        y = L.DepthwiseConv2D(3, padding="same", activation="relu", name=f"depthwise{block}")(y)
        y = L.BatchNormalization(name=f"n{block}")(L.Conv2D(6, 1, use_bias=False, name=f"project{block}")(y))
        x = L.Add(name=f"add{block}")([x, y])
    x = L.Conv2D(4, 1, name="behind")(L.MaxPooling2D()(L.ReLU()(x)))
    model = trained(keras.Model(inputs, L.Dense(4, name="head")(L.Flatten()(x))), IMAGES)
    for name in ("n0", "n1", "n2"):
        norm = model.get_layer(name)
        norm.gamma.assign(norm.gamma * sizes)
        norm.beta.assign(norm.beta * sizes)
    for name in ("depthwise1", "expand", "behind"):
        model.get_layer(name).kernel.assign(model.get_layer(name).kernel / sizes[:, None])
    return model


def test_what_residual_sums_tie_shares_its_scales():
    model = residual_network()
    prepared = quantize.prepare(model)
    pairs = channel_pairs(prepared)
    tied = [pair for pair in pairs if len(pair.members) > 1]
    assert len(tied) == 1
    assert {layer.name for layer in tied[0].producers} == {"stem", "project1", "project2"}
    assert [path.layer.name for path in tied[0].paths].count("behind") == 1
    assert {path.layer.name for path in tied[0].paths} == {"depthwise1", "expand", "behind"}
    # Three layers, two sums: the rectifier is part of the second one.
    assert len(tied[0].members) == 5
    members = [member.call.outputs[0] for pair in pairs for member in pair.members]
    before = [each.copy() for each in real(prepared, [member.call.outputs[0] for member in tied[0].members])]
    results = CalibrationSamples(prepared, IMAGES, 64, 32, 0).results(members, True)
    done = equalized(pairs, ChannelRange.of_results(results))
    assert done.groups == 1
    assert_close(real(prepared), model(IMAGES), 1e-5)
    after = real(prepared, [member.call.outputs[0] for member in tied[0].members])
    factors = [np.abs(old).max((0, 1, 2)) / np.abs(new).max((0, 1, 2)) for old, new in zip(before, after, strict=True)]
    for each in factors[1:]:
        assert_close(each, factors[0], 1e-4)
    assert factors[0].max() > 4 * factors[0].min()
    _, rows = ratios(model, method="minmax", correct_bias=False)
    assert rows["equalization"].after > rows["equalization"].before + 4
    assert "1 groups that residual sums tie" in rows["equalization"].changed


def test_sums_with_what_has_no_scale_are_left():
    inputs = keras.Input((8, 8, 4))
    x = L.Conv2D(4, 1, activation="relu6", name="limited")(inputs)
    with_input = L.Conv2D(4, 1, name="a")(L.Add()([x, inputs]))
    one_channel = L.Conv2D(1, 1, name="one")(with_input)
    spread = L.Conv2D(4, 1, name="b")(L.Add()([with_input, one_channel]))
    pooled = L.MaxPooling2D()(spread)
    sums = L.Add()([pooled, L.Conv2D(4, 3, strides=2, padding="same", name="c")(spread)])
    output = L.Add(name="output")([L.Conv2D(4, 1, name="d")(sums), L.Conv2D(4, 1, name="e")(sums)])
    assert channel_pairs(quantize.prepare(trained(keras.Model(inputs, output), IMAGES[..., [0, 1, 2, 0]]))) == []


# Bias correction.


def test_bias_correction_takes_the_mean_error_away():
    """Weights just below a half step all round down, so that the sums of positive numbers are too small."""
    keras.utils.set_random_seed(1)
    kernel = np.tile(np.append(np.full(15, 10.49), 127.0)[:, None], (1, 5)).astype("float32")
    model = keras.Sequential([keras.Input((16,)), L.Dense(5, name="first"), L.Dense(3, use_bias=False, name="last")])
    model.get_layer("first").kernel.assign(kernel / 127)
    data = RNG.uniform(0.5, 1, (32, 16)).astype("float32")
    prepared = quantize.observe(quantize.prepare(model), data)
    samples = CalibrationSamples(prepared, data, 64, 32, 0)
    first = prepared.get_layer("first")
    before = np.array(first.layer.bias)
    done = correct_biases(samples, real_results(samples, 0))
    # In a loop: data and weights as 8-bit integers, sums of products, and their mean beside that of real numbers.
    scale, zero = prepared.layers[1].qparams()
    quantized = (np.clip(np.round(data / scale) + zero, -128, 127) - zero) * scale
    expected = [
        np.mean([sum(x * w for x, w in zip(row, kernel[:, f] / 127, strict=True)) for row in data.astype("float64")])
        - np.mean([sum(x * np.round(w) / 127 for x, w in zip(row, kernel[:, f], strict=True)) for row in quantized])
        for f in range(5)
    ]
    assert_close(np.array(first.layer.bias) - before, expected, 1e-4)
    assert min(expected) > 0.02
    assert (done.layers, done.without_bias) == (1, ("last_sums",))
    assert done.largest == pytest.approx(max(expected), rel=1e-4)
    _, rows = ratios_of(model, data)
    assert rows["bias correction"].after > rows["bias correction"].before + 6


def test_a_part_that_does_harm_is_undone(monkeypatch, calibrated):
    """A wrong correction, and a scale that one side does not have, are seen in the outputs and put back."""
    model, _, rows = calibrated
    assert not any(row.is_undone for row in rows.values())

    def wrong_bias(samples, _):
        head = samples.model.get_layer("pointwise").layer
        head.bias.assign(head.bias + 1000)
        return Corrected(1, (), 1.0)

    def wrong_scale(pairs, _):
        gamma = pairs[0].first.normalization.gamma
        gamma.assign(gamma * np.linspace(1, 2, 8))
        return Equalized(1, 0, 0)

    monkeypatch.setattr(_calibrate, "correct_biases", wrong_bias)
    monkeypatch.setattr(_calibrate, "equalized", wrong_scale)
    prepared, rows = ratios(model, method="percentile")
    assert [row.part for row in rows.values() if row.is_undone] == ["equalization", "bias correction"]
    assert re.search(r"undone: -?\d+\.\d\d dB", rows["equalization"].changed)
    alone, _ = ratios(model, method="percentile", equalize=False, correct_bias=False)
    assert_close(prepared(IMAGES), alone(IMAGES), 0)


def ratios_of(model, data):
    reports = []
    prepared = quantize.calibrate(model, data, "minmax", equalize=False, report=reports.append)
    return prepared, {row.part: row for row in reports[0].rows}


# Data, settings, errors.

DENSE = keras.Sequential([keras.Input((4,)), L.Dense(2)])


def test_parts_are_judged_by_the_logits_of_a_softmax():
    layers = [keras.layers.Conv2D(4, 3), keras.layers.ReLU(), keras.layers.Flatten()]
    model = keras.Sequential([keras.Input((6, 6, 2)), *layers])
    logits = keras.layers.Dense(3)(model.outputs[0])
    images = RNG.normal(size=(64, 6, 6, 2)).astype("float32")
    found = []
    for output in (logits, keras.layers.Softmax()(100.0 * logits), keras.ops.softmax(logits)):
        quantize.calibrate(keras.Model(model.inputs, output), images, "minmax", report=found.append)
    of_logits, of_other_logits, of_probabilities = ([row.after for row in each.rows] for each in found)
    assert of_probabilities == of_logits
    # A softmax of other numbers has others.
    assert of_other_logits != of_logits


def test_data_are_read_once_and_drawn_by_seed():
    rows = RNG.normal(size=(100, 4)).astype("float32")
    made = []

    def generated():
        for start in range(0, 100, 7):
            made.append(start)
            yield rows[start : start + 7], np.zeros(len(rows[start : start + 7]))

    drawn = {}
    for seed, data in ((0, generated()), (1, rows), (0, rows)):
        samples = CalibrationSamples(quantize.prepare(DENSE), data, 16, 5, seed)
        found = np.concatenate([chunk.inputs[0] for chunk in samples._chunks])
        assert len(found) == samples.count == 16
        places = [int(np.flatnonzero((rows == row).all(1))[0]) for row in found]
        assert places == sorted(set(places))
        drawn.setdefault(seed, []).append(places)
    assert len(made) == 15
    assert drawn[0][0] == drawn[0][1] != drawn[1][0]
    # Each has the same chance.
    assert max(drawn[0][0]) > 60


def test_a_model_of_its_own_batch_and_integers_is_calibrated():
    """The last batch is filled up, which counts for nothing, and integers are cast."""
    inputs = keras.Input(batch_shape=(4, 6), dtype="uint8")
    model = keras.Model(inputs, L.Dense(8, activation="relu")(L.Rescaling(1 / 127.5, -1)(inputs)))
    data = RNG.integers(0, 256, (10, 6)).astype("uint8")
    reports = []
    prepared = quantize.calibrate(model, data, "minmax", False, False, report=reports.append)
    samples = CalibrationSamples(prepared, data, 16, 32, 0)
    found = [results for (results,) in samples.results(prepared.outputs, is_real=False)]
    assert [len(results) for results in found] == [4, 4, 2]
    expected = np.concatenate([model(data[:4]), model(data[4:8]), np.asarray(model(data[[8, 9, 9, 9]]))[:2]])
    assert reports[0].rows[0].after == pytest.approx(sqnr(expected, np.concatenate(found)), abs=0.01)


@pytest.mark.parametrize("runtime", ["xnnpack", "reference"])
def test_every_kind_of_operation_computes_what_the_float_model_does(runtime):
    """In real numbers: islands, tables, slopes, parts, pooling, shared, limited and fixed ranges."""
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(4, 3, activation="elu")(inputs)
    first, second = keras.ops.split(L.PReLU()(L.ReLU(max_value=2.5)(L.Conv2D(4, 3)(x))), 2, -1)
    x = L.LayerNormalization()(L.Concatenate()([L.Activation("sigmoid")(first), L.Activation("silu")(second)]))
    x = L.UpSampling2D(interpolation="bilinear")(L.AveragePooling2D(2)(L.LeakyReLU()(L.Conv2D(4, 1)(x))))
    x = L.Conv2DTranspose(3, 3, activation="tanh")(L.Add()([x, L.Conv2D(4, 1, activation="gelu")(x)]))
    model = trained(keras.Model(inputs, L.Dense(4, activation="softmax")(L.GlobalAveragePooling2D()(x))), IMAGES)
    assert_close(real(quantize.prepare(model, runtime=runtime)), model(IMAGES), 1e-5)


def test_the_report_is_a_table_and_json(caplog):
    reports = []
    with caplog.at_level("INFO", "tfsep"):
        quantize.calibrate(DENSE, IMAGES[:, 0, :4, 0], "entropy", report=reports.append)
    (report,) = reports
    messages = [record.getMessage() for record in caplog.records if "calibrated" in record.getMessage()]
    assert messages == [f"{DENSE.name} is calibrated on 24 samples:\n{report}"]
    stored = json.loads(report.to_json())
    assert [row["part"] for row in stored["rows"]] == [row.part for row in report.rows]
    assert stored["samples"] == 24
    assert report.to_markdown().startswith("| part | changed | SQNR before (dB) | after (dB) |")


def test_images_that_were_not_prepared_as_in_training_are_told(caplog):
    """Whatever their type: bytes, and floats of the same numbers."""
    model = keras.Sequential([keras.Input((4, 4, 3)), L.Conv2D(4, 3), L.BatchNormalization(name="bn"), L.ReLU()])
    images = RNG.integers(0, 256, (16, 4, 4, 3)).astype("uint8")
    model.layers[1].momentum = 0.0
    model(images / 127.5 - 1, training=True)
    options = {"method": "minmax", "equalize": False, "correct_bias": False}
    for data, told in ((images, True), (images / 127.5 - 1, False)):
        caplog.clear()
        with caplog.at_level("WARNING", "tfsep"):
            quantize.calibrate(model, data, **options)
        assert bool(caplog.messages) == told
    with caplog.at_level("WARNING", "tfsep"):
        quantize.calibrate(model, images.astype("float32"), **options)
    assert caplog.messages[-1].startswith("data, from 0 to 255, give the first batch normalization, 'bn', ")


ROWS = RNG.normal(size=(8, 4)).astype("float32")
BAD = {
    "no samples": ({"data": ROWS[:0]}, "data", ValueError, "at least one sample"),
    "an empty generator": ({"data": iter(())}, "data", ValueError, "at least one sample"),
    "constant": ({"data": np.ones_like(ROWS)}, "data", ValueError, "only constant ones"),
    "constant samples": ({"data": np.arange(8.0)[:, None] * np.ones((1, 4))}, "data", ValueError, "only constant"),
    "NaN": ({"data": np.where(ROWS > 1, np.nan, ROWS)}, "data", ValueError, "NaN or infinity"),
    "labels": ({"data": np.arange(8)}, "data", ValueError, r"shape \(N, 4\)"),
    "labels first": ({"data": (np.arange(8), ROWS)}, "data", ValueError, r"shape \(N, 4\)"),
    "no arrays": ({"data": None}, "data", TypeError, "arrays"),
    "nearly a method": ({"method": "mean"}, "method", ValueError, "nearest is 'mse'"),
    "no method": ({"method": None}, "method", ValueError, "expected one of best, minmax, mse"),
    "no number": ({"samples": 0}, "samples", ValueError, "at least 1"),
    "half a sample": ({"batch_size": 0.5}, "batch_size", ValueError, "int"),
    "rounding": ({"rounding": "down"}, "rounding", ValueError, "expected one of nearest, adaptive, got 'down'"),
    "scales": ({"weight_scales": "min"}, "weight_scales", ValueError, "expected one of max, mse, moments, got 'min'"),
    "bias": ({"correct_bias": "no"}, "correct_bias", ValueError, "expected one of empirical, analytic, got 'no'"),
    "steps": ({"steps": 0}, "steps", ValueError, "at least 1"),
    "seed": ({"seed": -1}, "seed", ValueError, "at least 0"),
    "option": ({"runtime": "tpu"}, "runtime", ValueError, "xnnpack"),
    "unknown option": ({"foo": 1}, "foo", TypeError, "one of method, .* unsupported, got 'foo'$"),
    "nearly an option": ({"budgett": 0.9}, "budgett", TypeError, "the nearest is 'budget'"),
    "nearly a field": ({"runtimes": "reference"}, "runtimes", TypeError, "the nearest is 'runtime'"),
    "report": ({"report": 3}, "report", TypeError, "expected a function of the report, or None, got 3"),
    "equalize": ({"equalize": "yes"}, "equalize", ValueError, "expected True or False, got 'yes'"),
    "no budget": ({"budget": 0}, "budget", ValueError, r"a number in \(0, 1\], got 0"),
    "NaN as budget": ({"budget": float("nan")}, "budget", ValueError, "a number in"),
    "latency alone": ({"latency": {"a": 1.0}}, "latency", ValueError, "expected None without a budget"),
    "NaN as latency": ({"budget": 0.9, "latency": {"a": float("nan")}}, "latency", TypeError, "expected numbers by"),
    "no name": ({"keep_float": ["nope"]}, "keep_float", ValueError, "got 'nope'; the nearest is 'dense"),
    "prepared": ({"model": quantize.prepare(DENSE)}, "model", ValueError, "not prepared"),
    "no model": ({"model": 3}, "model", TypeError, "Keras model"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_refused(case):
    changes, argument, kind, words = BAD[case]
    message = assert_refused(lambda: quantize.calibrate(**({"model": DENSE, "data": ROWS} | changes)), argument, kind)
    assert re.search(words, message), message
