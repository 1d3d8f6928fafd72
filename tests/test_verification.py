"""Verification sees every output channel, and tells a lossy file from a wrong one."""

import csv
import functools
import gc
import itertools
import json
from dataclasses import replace
from types import SimpleNamespace

import damages
import keras
import numpy as np
import pytest
import verification_networks
from checks import assert_sentence, in_part
from conftest import ROOT
from keras import layers
from verification_networks import APPLICATIONS, SMALL, application, built, samples

from tfsep import tflite
from tfsep._flatbuffer.constants import stored_numbers
from tfsep._flatbuffer.reader import pack, unpack
from tfsep.tflite import _litert_model
from tfsep.tflite._channel_errors import ChannelLimit, OutputErrors
from tfsep.tflite._tensor_info import TensorInfo

RNG = np.random.default_rng(0)


def calibrated(recipe, data):
    return data if tflite.RECIPES[recipe].needs_calibration else None


# Damaged files.


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A network, samples, and its files in each recipe."""
    folder = tmp_path_factory.mktemp("whole")
    model, data = damages.network(), RNG.normal(size=(48, 12, 12, 3)).astype("float32")
    files = {}
    for recipe in tflite.RECIPES:
        path = folder / f"{recipe}.tflite"
        report = tflite.export(model, path, recipe, calibrated(recipe, data[:32]), data=data[32:])
        assert report.verification.proof.holds
        files[recipe] = path.read_bytes()
    return SimpleNamespace(model=model, data=data[32:], files=files, path=folder / "damaged.tflite")


@pytest.fixture
def whole(made, monkeypatch, one_reference):
    """The same, whose files run without a process of their own: there are many of them."""
    monkeypatch.setattr(_litert_model, "require_runnable", lambda *_: None)
    return made


def refusal(whole, recipe, damage):
    """The error that a damaged file ends in; None where it passes, or has no place for the damage."""
    content = damages.damaged(whole.files[recipe], damage)
    if content is None:
        return None
    whole.path.write_bytes(content)
    with pytest.raises(ValueError, match="expected") as error:
        tflite.verify(whole.model, whole.path, whole.data)
    return error.value


INTEGERS_ONLY = {
    "halved_scale",
    "halved_output_scale",
    "coarse_scale",
    "other_scale_behind_pooling",
    "shifted_zero",
    "shifted_zero_behind_pooling",
}
FLOATS_ONLY = {"nan_weights", "overflowing_weights"}


def has_place(recipe, damage):
    """Whether a file of the network has what a damage damages."""
    if damage in INTEGERS_ONLY:
        return recipe == "int8" or (recipe == "int16x8" and "zero" not in damage)
    return damage not in FLOATS_ONLY or recipe in ("float32", "float16", "dynamic_int8")


@pytest.mark.parametrize("recipe", in_part(["int8", "float32", "int16x8", "dynamic_int8", "float16"], 5))
def test_every_damage_is_caught(whole, recipe):
    errors = {damage: refusal(whole, recipe, damage) for damage in damages.DAMAGES}
    assert {damage for damage, error in errors.items() if error} == {d for d in errors if has_place(recipe, d)}
    assert len([error for error in errors.values() if error]) >= 18


@pytest.mark.parametrize(
    ("recipe", "damage", "word"),
    [
        ("int8", "relu_for_relu6", "the model's operators, options and connections"),
        ("int8", "aligned_corners_and_half_pixels", "got RESIZE_BILINEAR (If half_pixel_centers is True"),
        ("int16x8", "no_relu", "the model's operators, options and connections"),
        ("int8", "halved_scale", "ranges of tensors"),
        ("int16x8", "other_scale_behind_pooling", "operators in integers that round to a step"),
        ("int8", "scaled_weights", "the model's weights"),
    ],
)
def test_what_the_outputs_do_not_tell(whole, recipe, damage, word):
    """Errors of the outputs under the recipe's tolerance: of these, the stored numbers tell."""
    error = refusal(whole, recipe, damage)
    assert word in str(error)
    assert error.report.rms_error < error.report.tolerance


def test_no_tolerance_excuses_a_wrong_file(whole):
    for damage in ("relu_for_relu6", "swapped_layers", "halved_scale"):
        whole.path.write_bytes(damages.damaged(whole.files["int8"], damage))
        with pytest.raises(tflite.VerificationError):
            tflite.verify(whole.model, whole.path, whole.data, tolerance=100.0)


def test_file_of_another_model_of_the_same_shapes(whole):
    other = keras.models.clone_model(whole.model)
    for recipe, content in whole.files.items():
        whole.path.write_bytes(content)
        with pytest.raises(tflite.VerificationError):
            tflite.verify(other, whole.path, whole.data)
        assert recipe in tflite.RECIPES


@pytest.mark.parametrize("recipe", ["int8", "int16x8"])
def test_calibration_on_other_data(whole, recipe, tmp_path):
    """Ranges of small numbers: what comes in is cut off, and so is what is computed from it."""
    path = tmp_path / "m.tflite"
    tflite.export(whole.model, path, recipe, 0.4 * whole.data)
    with pytest.raises(tflite.VerificationError) as error:
        tflite.verify(whole.model, path, whole.data)
    assert error.value.report.saturated > 0.1


# Channels.


def three_columns(*scales):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(3)])
    kernel = model.layers[0].kernel
    kernel.assign(kernel.numpy() * (scales or (1000, 1, 0.2)))
    return model


def boxes_and_scores(rank=3, last=True):
    """Boxes in pixels beside scores: as (N, boxes, 5), (N, 5, boxes), maps, or a row."""
    image = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, strides=2, activation="relu")(image)
    boxes = layers.Rescaling(640.0)(layers.Conv2D(4, 1, activation="sigmoid")(x))
    x = layers.Concatenate()([boxes, layers.Conv2D(1, 1, activation="sigmoid")(x)])
    if rank == 3:
        x = layers.Reshape((25, 5))(x)
        x = x if last else layers.Permute((2, 1))(x)
    return keras.Model(image, layers.Flatten()(x) if rank == 2 else x)


DEAD = {
    "columns": (three_columns, "[:, 2]"),
    "boxes × channels": (boxes_and_scores, "[..., 4]"),
    "channels × boxes": (functools.partial(boxes_and_scores, last=False), "[:, 4, "),
    "maps": (functools.partial(boxes_and_scores, 4), "[..., 4]"),
    "a row": (functools.partial(boxes_and_scores, 2), "[:, "),
}


@pytest.mark.parametrize(("case", "tolerance"), [*((case, None) for case in DEAD), ("columns", 100.0)])
def test_dead_channels_are_errors(tmp_path, case, tolerance):
    make, name = DEAD[case]
    keras.utils.set_random_seed(0)
    model = make()
    data = samples(model, 32, 0)
    with pytest.raises(tflite.VerificationError) as error:
        tflite.export(model, tmp_path / "m.tflite", "int8", data, tolerance=tolerance)
    text = str(error.value)
    assert_sentence(text, "m.tflite")
    assert "expected channels that vary as in the model, got a constant" in text
    assert "in the file in steps of" in text
    assert "give it an output of its own or the scale of the others" in text
    report = error.value.report
    assert any(channel.dead and name in channel.name for channel in report.channels.worst)
    assert report.rms_error < report.tolerance, "the whole output does not tell"
    assert not list(tmp_path.iterdir())


def test_dead_channels_behind_outputs_in_float32(tmp_path):
    own = replace(tflite.RECIPES["int8"], name="own", interface="float32")
    keras.utils.set_random_seed(0)
    model = three_columns()
    with pytest.raises(tflite.VerificationError, match="in steps of") as error:
        tflite.export(model, tmp_path / "m.tflite", own, samples(model, 32, 0))
    assert error.value.report.channels.dead == 2


@pytest.mark.parametrize("recipe", tflite.RECIPES)
def test_dead_outputs_are_errors_in_every_recipe(tmp_path, recipe):
    """In the file of a model whose last column does not vary, beside large ones that hide it."""
    keras.utils.set_random_seed(0)
    model, other = three_columns(1000, 800, 50), three_columns()
    kernel = model.layers[0].kernel.numpy()
    other.layers[0].kernel.assign(kernel * [1, 1, 0])
    data, path = samples(model, 32, 0), tmp_path / "m.tflite"
    tflite.export(other, path, recipe, calibrated(recipe, data))
    types = ("what the file's types store",)
    own = types if tflite.RECIPES[recipe].interface == "float32" else ("the scale of the others", "float32")
    # In int16x8 the converter gives the column a scale of 0, whose limits the model's numbers are past.
    cause = "the model's operators" if recipe == "int16x8" else "its weights are not the model's"
    for weights, advice in ((False, own), (True, (cause,))):
        with pytest.raises(tflite.VerificationError, match="got a constant: ") as error:
            tflite.verify(model, path, data, weights=weights)
        text, channels = str(error.value), error.value.report.channels
        assert_sentence(text, "m.tflite")
        assert channels.dead == 1
        assert all(word in text for word in advice)
        (dead,) = (channel for channel in channels.worst if "2]" in channel.name)
        assert (dead.file_low, dead.file_high) == (0, 0)
        expected = data @ kernel[:, 2]
        np.testing.assert_allclose([dead.model_low, dead.model_high], [expected.min(), expected.max()], rtol=1e-3)


@pytest.mark.parametrize("recipe", ["float32", "float16", "dynamic_int8", "int16x8"])
def test_the_same_columns_pass_where_they_are_kept(tmp_path, recipe):
    keras.utils.set_random_seed(0)
    model = three_columns()
    data = samples(model, 32, 0)
    report = tflite.export(model, tmp_path / "m.tflite", recipe, calibrated(recipe, data), data=data)
    assert not report.verification.channels.dead
    stored = json.loads((tmp_path / "m.json").read_text())["verification"]
    assert stored["channel_count"] == 3
    assert len(stored["channels"]) == 3
    assert stored["channels"][0]["model_high"] == report.verification.channels.worst[0].model_high
    assert f"error of {report.verification.channels.worst[0].name}" in str(report)


@pytest.mark.parametrize("recipe", in_part(["float16", "float32", "dynamic_int8", "int8", "int16x8"], 3))
def test_one_wrong_column_beside_a_large_one(tmp_path, recipe):
    """A sigmoid that has become a tanh, in a column that a large one hides."""
    keras.utils.set_random_seed(0)
    x = keras.Input((6,))
    model = keras.Model(x, layers.Concatenate()([layers.Dense(2)(x), layers.Dense(1, activation="sigmoid")(x)]))
    model.layers[1].kernel.assign(20 * model.layers[1].kernel.numpy())
    data, path = samples(model, 64, 0), tmp_path / "m.tflite"
    tflite.export(model, path, recipe, calibrated(recipe, data), data=data)
    path.write_bytes(damages.damaged(path.read_bytes(), "tanh_for_sigmoid"))
    with pytest.raises(ValueError, match="expected") as error:
        tflite.verify(model, path, data)
    if recipe == "float16":
        assert error.value.report.rms_error < error.value.report.tolerance
        assert "[:, 2]" in str(error.value)


def test_channels_that_do_not_vary_in_the_model(tmp_path):
    model = built(verification_networks.dead_channel)
    data = samples(model, 32, 0)
    report = tflite.export(model, tmp_path / "m.tflite", "int8", data, data=data).verification
    assert not report.channels.dead
    assert not report.lossy


def test_rare_classes(tmp_path):
    """Probabilities under one step in all of the data are 0 in the file, as they should be, and noted."""
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5, activation="softmax")])
    model.layers[0].bias.assign([0.0, 0.0, 0.0, -12.0, -12.0])
    data = samples(model, 32, 0)
    report = tflite.export(model, tmp_path / "m.tflite", "int8", data, data=data)
    assert (report.verification.channels.dead, report.verification.channels.rare) == (0, 2)
    assert any("2 of 5 output channels are probabilities that vary by less than one step" in n for n in report.notes)
    assert not report.verification.lossy


def test_probabilities_that_all_vary_by_less_than_a_step(tmp_path):
    """Those of an untrained network: no file in integers tells them apart, which is said, and refused if strict."""
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5, activation="softmax")])
    model.layers[0].kernel.assign(1e-3 * RNG.normal(size=(6, 5)))
    data = samples(model, 32, 0)
    report = tflite.export(model, tmp_path / "m.tflite", "int8", data, data=data)
    assert report.verification.channels.rare == 5
    assert report.verification.lossy
    assert any(note.startswith("LOSSY: 5 of 5 output channels are probabilities") for note in report.notes)
    with pytest.raises(tflite.VerificationError, match="lossy"):
        tflite.verify(model, tmp_path / "m.tflite", data, strict=True)
    other = keras.Sequential([keras.Input((6,)), layers.Dense(5, activation="softmax")])
    with pytest.raises(tflite.VerificationError):
        tflite.verify(other, tmp_path / "m.tflite", data)


# Lossy files.


@pytest.mark.slow
def test_lossy_file_is_kept_with_its_figures(tmp_path):
    """Rounding of a deep, untrained network adds up to more than the tolerance; strict refuses it."""
    model = built(verification_networks.deep)
    data = samples(model, 24, 0)
    path = tmp_path / "m.tflite"
    report = tflite.export(model, path, "int8", data, data=data)
    found = report.verification
    assert found.lossy
    assert found.passed
    assert found.channels.error > tflite.RECIPES["int8"].tolerance
    (note,) = (note for note in report.notes if note.startswith("LOSSY"))
    assert found.channels.worst[0].name in note
    assert "in steps of" in note
    with pytest.raises(tflite.VerificationError, match="as strict asks for, got a lossy file"):
        tflite.verify(model, path, data, strict=True)
    with pytest.raises(tflite.VerificationError, match="expected a relative RMS error"):
        tflite.verify(model, path, data, tolerance=0.2)
    with pytest.raises(tflite.VerificationError, match="expected a relative RMS error"):
        tflite.verify(model, path, data, weights=False)
    path.write_bytes(damages.damaged(path.read_bytes(), "no_relu"))
    with pytest.raises(tflite.VerificationError):
        tflite.verify(model, path, data)


RECIPES_OF_ALL = list(itertools.product(tflite.RECIPES, SMALL))


@pytest.mark.parametrize(("recipe", "make"), in_part(RECIPES_OF_ALL, 17))
def test_faithful_files_pass(tmp_path, recipe, make):
    model = built(make)
    calibration, data = samples(model, 32, 0), samples(model, 16, 1)
    try:
        found = tflite.export(model, tmp_path / "m.tflite", recipe, calibrated(recipe, calibration), data=data)
    except tflite.VerificationError:
        raise
    except ValueError as error:
        pytest.skip(str(error))
    assert found.verification.proof.holds
    assert not found.verification.proof.missing
    assert found.verification.weight_error <= 1


def amplifying(depth):
    """A network that makes much of every last place of its inputs."""
    keras.utils.set_random_seed(0)
    tensor = inputs = keras.Input((16,))
    for _ in range(depth):
        tensor = layers.Dense(16, keras.ops.sin, kernel_initializer=keras.initializers.RandomNormal(0, 1))(tensor)
    return keras.Model(inputs, tensor)


def test_networks_that_amplify_rounding(tmp_path):
    """What rounding of the inputs makes of the outputs, float32 may; of chaos nothing is known."""
    data = RNG.normal(size=(32, 16)).astype("float32")
    right = tflite.export(amplifying(8), tmp_path / "right.tflite", data=data).verification
    assert right.lossy
    assert right.rms_error > tflite.RECIPES["float32"].tolerance
    assert 1e-4 < right.proof.graph_error < right.proof.graph_tolerance < 0.05
    wrong = amplifying(8)
    wrong.layers[-3].activation = keras.ops.tanh
    with pytest.raises(tflite.VerificationError, match="relative RMS error"):
        tflite.verify(wrong, tmp_path / "right.tflite", data)
    with pytest.raises(tflite.VerificationError, match="relative RMS error"):
        tflite.export(amplifying(16), tmp_path / "chaos.tflite", data=data)


# Sums over channels.


def channel_errors(model, file, scale=0.0, batches=1, shape=None):
    errors = OutputErrors(TensorInfo("y", shape or (1, *model.shape[1:]), "float32", 0.0, 0), scale)
    for ours, theirs in zip(np.array_split(model, batches), np.array_split(file, batches), strict=True):
        errors.add(ours, theirs)
    return errors.summary(ChannelLimit(0.1, adds_rounding=False))


def by_hand(model, file, axis):
    """Error over deviation of one channel, in a loop."""
    axes = tuple(i for i in range(model.ndim) if i != axis % model.ndim)
    return np.sqrt(np.mean((file - model) ** 2, axis=axes)) / np.std(model, axis=axes)


def test_channels_first(tmp_path):
    """A plane of scores that is constant beside a large one is found on the second axis too."""
    inputs = keras.Input((12, 12, 3))
    maps = layers.Conv2D(2, 1)(inputs)
    boxes, scores = maps[..., :1] * 500.0, keras.ops.sigmoid(maps[..., 1:])
    model = keras.Model(inputs, layers.Permute((3, 1, 2))(layers.Concatenate()([boxes, scores])))
    data = samples(model, 24, 0)
    with pytest.raises(tflite.VerificationError, match=r"\[:, 1, :, :\].*an output of its own"):
        tflite.export(model, tmp_path / "m.tflite", "int8", data, data=data)
    tflite.export(model, tmp_path / "m.tflite", data=data)


@pytest.mark.parametrize("mean", [0.0, 1e6, -1e5])
@pytest.mark.parametrize("shape", [(40, 3), (40, 7, 9, 5), (40, 30, 40), (40, 2, 3)])
def test_errors_of_channels(mean, shape):
    model = mean + RNG.normal(size=shape) * RNG.uniform(0.5, 2, shape[-1])
    file = model + 0.05 * RNG.normal(size=shape)
    found = channel_errors(model, file, batches=7)
    expected = by_hand(model, file, -1)
    if len(shape) > 2:
        few = np.prod(shape[1:]) <= 256
        others = np.sqrt(np.mean((file - model) ** 2, 0)) / model.std(0) if few else by_hand(model, file, 1)
        expected = np.concatenate([expected, others.ravel()])
    assert found.total == len(expected)
    largest = sorted(expected, reverse=True)[:8]
    np.testing.assert_allclose([channel.error for channel in found.worst], largest, rtol=1e-4)
    assert (found.dead, found.coarse) == (0, np.sum(expected > 0.1))


def test_names_and_ranges_of_channels():
    model = np.zeros((9, 2, 3))
    model[:, 1, 2] = np.arange(9)
    (worst, *_) = channel_errors(model, np.zeros_like(model)).worst
    assert worst.name in ("y[..., 2]", "y[:, 1, 2]")
    assert (worst.model_low, worst.model_high, worst.file_low, worst.file_high, worst.dead) == (0, 8, 0, 0, True)
    assert channel_errors(np.arange(9.0), np.zeros(9), shape=(9,)).worst[0].name == "y"


@pytest.mark.parametrize(
    ("model", "file", "scale", "dead"),
    [
        (np.arange(16.0), np.zeros(16), 0.0, 1),
        (np.arange(16.0), np.zeros(16), 100.0, 1),
        (1e-4 * np.arange(16.0), np.zeros(16), 1.0, 1),
        (np.arange(16.0), np.arange(16.0), 0.0, 0),
        (np.ones(16), np.zeros(16), 1.0, 0),
        (1 + 1e-7 * (np.arange(16) % 2), np.ones(16), 0.0, 0),
        (np.array([3.0]), np.array([2.0]), 0.0, 0),
        (np.array([3.0, 3.2]), np.array([3.0, 3.0]), 1.0, 0),
        (np.array([3.0, 3.7, 3.1, 3.4, 3.3]), np.full(5, 3.0), 1.0, 0),
        (np.array([3.0, 3.02, 3.01, 3.0, 3.03]), np.full(5, 3.0), 1.0, 1),
        (np.array([3.0, 4.0]), np.array([3.0, 3.0]), 0.0, 1),
    ],
)
def test_dead_or_not(model, file, scale, dead):
    assert channel_errors(model[:, None], file[:, None], scale).dead == dead


def test_no_number_is_no_small_error():
    model, file = RNG.normal(size=(2, 16, 4))
    for bad in (np.nan, np.inf):
        file[3, 2] = bad
        worst = channel_errors(model, file).worst[0]
        assert worst.name == "y[:, 2]"
        assert not worst.error <= 1


# Bounds.


@pytest.mark.parametrize("recipe", ["float16", "dynamic_int8", "int8"])
@pytest.mark.parametrize(
    "make", in_part([verification_networks.unit_normalization, verification_networks.normalize], 1)
)
def test_bounds_past_the_type_are_right(tmp_path, recipe, make):
    """A normalization's bound of 1e12 is the largest number of float16, or of the range in int8: it clips nothing."""
    model = built(make)
    data = samples(model, 32, 0)
    found = tflite.export(model, tmp_path / "m.tflite", recipe, calibrated(recipe, data), data=data)
    assert found.verification.weight_error <= 1
    assert found.verification.rms_error < 0.1


@pytest.mark.parametrize("recipe", ["float16", "int8"])
def test_another_bound_is_found(tmp_path, recipe):
    """A bound within the type's range is a weight like others."""
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.ops.minimum(layers.Conv2D(4, 3)(image), 0.5))
    data, path = samples(model, 32, 0), tmp_path / "m.tflite"
    tflite.export(model, path, recipe, calibrated(recipe, data), data=data)
    changed = unpack(path.read_bytes(), path)
    bounds = [t for t in changed.subgraphs[0].tensors if (v := stored_numbers(changed, t)) is not None and v.size == 1]
    values = stored_numbers(changed, bounds[0])
    changed.buffers[bounds[0].buffer].data = np.frombuffer((values * 0.5).astype(values.dtype).tobytes(), np.uint8)
    path.write_bytes(pack(changed))
    with pytest.raises(tflite.VerificationError):
        tflite.verify(model, path, data)


def test_weights_past_float16_are_refused(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    model.layers[0].kernel.assign(1e5 * np.ones((4, 2)))
    with pytest.raises(tflite.VerificationError):
        tflite.export(model, tmp_path / "m.tflite", "float16", data=samples(model, 16, 0))


def test_mask_that_takes_the_whole_range(tmp_path):
    """A mask of −2e38 in front of no softmax of one operator leaves no step for logits of ±5: no error of rounding."""
    tokens = keras.Input((6, 8))
    logits = keras.ops.where(np.tri(6, dtype=bool), tokens @ keras.ops.transpose(tokens, (0, 2, 1)), -2e38)
    model = keras.Model(tokens, keras.ops.exp(keras.ops.log_softmax(logits)) @ tokens)
    data = samples(model, 32, 0)
    with pytest.raises(tflite.VerificationError, match="the data use little of a range that was calibrated"):
        tflite.export(model, tmp_path / "m.tflite", "int8", data)


def _masked(kind):
    """Attention with a mask; of which one sample is masked whole, where the mask is a sum."""
    tokens, given = keras.Input((6, 8), name="a"), keras.Input((6,), name="b")
    logits = tokens @ keras.ops.transpose(tokens, (0, 2, 1))
    absent = 1.0 - keras.ops.cast(given > 0, "float32")
    if kind == "attention":
        return keras.Model([tokens, given], layers.Attention()([tokens, tokens], mask=[None, given > 0]))
    if kind == "heads":
        return keras.Model(
            [tokens, given], layers.MultiHeadAttention(2, 4)(tokens, tokens, attention_mask=given[:, None] > 0)
        )
    if kind == "sum":
        logits = logits + absent[:, None, :] * -1e9
    elif kind == "difference":
        logits = logits - 1e5 * keras.ops.expand_dims(absent, 1)
    elif kind == "choice":
        logits = keras.ops.where(given[:, None, :] > 0, logits, -1e9)
    else:
        distance = np.subtract.outer(np.arange(6.0), np.arange(6.0)).astype("float32")
        logits = logits + np.where(distance < 0, np.float32(-1e9), -0.3 * distance)
    return keras.Model([tokens, given][: 1 + (kind != "constant")], keras.ops.softmax(logits) @ tokens)


MASKS = [
    (kind, recipe)
    for recipe in ("int8", "int16x8")
    for kind in ("sum", "attention", "constant", "choice", "heads", "difference")
]


@pytest.mark.parametrize(("kind", "recipe"), in_part(MASKS, 12))
def test_masks_of_a_softmax_leave_steps_for_its_logits(tmp_path, kind, recipe):
    model, random = _masked(kind), np.random.default_rng(0)
    data, given = random.normal(size=(32, 6, 8)).astype("float32"), random.normal(size=(32, 6)).astype("float32")
    given[:, 0] = np.abs(given[:, 0])
    if kind == "sum":
        given[0] = -1
    samples = data if kind == "constant" else (data, given)
    found = tflite.export(model, tmp_path / "m.tflite", recipe, samples, data=samples).verification
    assert found.rms_error < {"int8": 0.2, "int16x8": 0.02}[recipe]
    assert found.proof.holds


def _twice(kind):
    """A layer with biases at two places, of which the second reads far smaller numbers."""
    inputs = keras.Input((4, 4, 6))
    biases = keras.initializers.RandomNormal(0, 1, seed=0)
    first = (
        layers.Conv2D(6, 1, bias_initializer=biases)
        if kind == "convolution"
        else layers.Dense(6, bias_initializer=biases)
    )
    second, small = first, 5e-3 * np.eye(6)
    if kind == "equal":
        second = layers.Dense(6, bias_initializer=keras.initializers.Constant(first(np.zeros((1, 6)))[0].numpy()))
    if kind == "normalization":
        norm = layers.BatchNormalization(beta_initializer=biases)
        return keras.Model(inputs, norm(first(norm(first(inputs)) @ small.astype("float32"))))
    return keras.Model(inputs, second(first(inputs) @ small.astype("float32")))


@pytest.mark.parametrize("kind", in_part(["dense", "convolution", "equal", "normalization"], 4))
def test_biases_that_two_operators_have(tmp_path, kind):
    """Each on the scale of its own inputs."""
    model = _twice(kind)
    data = RNG.normal(size=(32, 4, 4, 6)).astype("float32")
    found = tflite.export(model, tmp_path / "m.tflite", "int16x8", data, data=data).verification
    assert found.channels.error < 0.1
    np.testing.assert_allclose(tflite.predict(tmp_path / "m.tflite", data), model(data), atol=1e-3)


FIGURES = ("rms_error", "channel_error", "graph_error", "operator_error", "reach", "chance", "use")
FIELDS = ("kind", "name", "recipe", "outcome", *FIGURES)


def table_row(kind, name, recipe, outcome, report):
    """A row of the table; figures of three digits."""
    proof = None if report is None else report.proof
    figures = [None, None] if report is None else [report.rms_error, report.channels.error]
    measures = {} if proof is None else proof.to_dict()
    figures += [measures.get(field) for field in FIGURES[2:]]
    return (kind, name, recipe, outcome, *("" if figure is None else f"{figure:.3g}" for figure in figures))


def faithful_rows(path, name, model, recipes, data):
    """Rows of the files of a model, in the recipes that the converter has for it."""
    for recipe in recipes:
        try:
            report = tflite.export(model, path, recipe, calibrated(recipe, data[0]), data=data[1]).verification
        except tflite.VerificationError as error:
            yield table_row("faithful", name, recipe, "refused", error.report)
        except ValueError:
            continue
        else:
            yield table_row("faithful", name, recipe, "lossy" if report.lossy else "passed", report)


def damaged_rows(whole):
    """Rows of the damaged files."""
    for recipe, damage in itertools.product(tflite.RECIPES, damages.DAMAGES):
        content = damages.damaged(whole.files[recipe], damage)
        if content is not None:
            whole.path.write_bytes(content)
            try:
                report, outcome = tflite.verify(whole.model, whole.path, whole.data), "passed"
            except tflite.VerificationError as error:
                report, outcome = error.report, "refused"
            except ValueError:
                report, outcome = None, "does not run"
            yield table_row("damaged", damage, recipe, outcome, report)


def write_table(name, rows):
    with (ROOT / "benchmarks" / name).open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([FIELDS, *rows])


@pytest.mark.slow
def test_table_of_networks_and_damages(whole, tmp_path):
    """Every file that is right passes, and none that is not; the figures are a table in ``benchmarks``."""
    damaged = list(damaged_rows(whole))
    faithful = []
    for make in SMALL:
        model = built(make)
        data = samples(model, 32, 0), samples(model, 16, 1)
        faithful += faithful_rows(tmp_path / "m.tflite", make.__name__, model, tflite.RECIPES, data)
    write_table("verification.csv", [*damaged, *faithful])
    assert {row[3] for row in faithful} == {"passed", "lossy"}
    assert {row[3] for row in damaged} == {"refused", "does not run"}
    assert len(faithful) >= 100


def application_rows(path, name):
    """Rows of an application whose normalizations have the statistics of their own inputs, so that its outputs vary."""
    low = 0.0 if name.startswith(("MobileNetV3", "EfficientNet", "ConvNeXt")) else None
    model = built(functools.partial(application, name), statistics=False)
    data = samples(model, 16, 0, low), samples(model, 16, 1, low)
    for layer in model._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
    model(samples(model, 16, 2, low), training=True)
    return list(faithful_rows(path, name, model, ("float16", "int8"), data))


@pytest.mark.slow
def test_table_of_applications(tmp_path):
    """Untrained networks, in which rounding adds up most: none is refused."""
    rows = []
    for name in APPLICATIONS:
        rows += application_rows(tmp_path / "m.tflite", name)
        # One network at a time is in memory.
        keras.utils.clear_session()
        gc.collect()
        write_table("verification_applications.csv", rows)
    assert {row[3] for row in rows} == {"passed", "lossy"}
