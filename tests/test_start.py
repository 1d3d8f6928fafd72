"""Starting weights: what is copied, what is made anew, what stays, and that a trained network is worth it."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from checks import assert_sentence, assert_unchanged, state_of
from keras import layers as L
from stripes import NETWORK, stripes, stripes_data

from tfsep import quantize, saved
from tfsep.cli._start import open_start
from tfsep.data import ImageData, Preprocessing, Split, write_preprocessing
from tfsep.train import TrainConfig, train
from tfsep.train._start import Start, rates_of, stages_of
from tfsep.train._trainer import Trainer

CONFIG = TrainConfig(network=NETWORK, epochs=1, batch_size=16, validation=16)


@pytest.fixture(scope="module")
def three():
    """Images of three classes."""
    train_split, test_split = stripes(120, 3), stripes(40, 4)
    return ImageData("three", ("above", "below", "none"), train_split, test_split)


def classifier(*tail):
    keras.utils.set_random_seed(1)
    body = [
        L.Conv2D(4, 3, strides=2, padding="same", name="first"),
        L.BatchNormalization(name="normal"),
        L.Conv2D(6, 3, strides=2, padding="same", name="second"),
    ]
    return keras.Sequential([keras.Input((28, 28, 1)), *body, L.GlobalAveragePooling2D(), *tail])


def nested():
    inputs = keras.Input((28, 28, 1))
    base = keras.Model(inputs, L.Conv2D(5, 3, strides=4, name="inner")(inputs), name="base")
    top = keras.Input((28, 28, 1))
    return keras.Model(top, L.Dense(2, activation="softmax")(L.Flatten()(base(L.Rescaling(2.0)(top)))))


def convolutional():
    inputs = keras.Input((None, None, 1))
    x = L.Conv2D(4, 3, strides=2)(inputs)
    x = L.Conv2D(2, 1, name="logits")(L.GlobalAveragePooling2D(keepdims=True)(x))
    return keras.Model(inputs, L.Softmax()(L.Reshape((2,))(x)))


STARTS = {
    "dense and softmax": lambda: classifier(L.Dense(2), L.Softmax()),
    "dense with softmax": lambda: classifier(L.Dropout(0.2), L.Dense(2, activation="softmax")),
    "logits": lambda: classifier(L.Dense(2)),
    "activation": lambda: classifier(L.Dense(2), L.Activation("softmax")),
    "nested": nested,
    "a convolution, open sizes": convolutional,
}


@pytest.mark.parametrize("case", STARTS)
def test_all_but_the_head_is_copied(case, three):
    model = STARTS[case]()
    before = state_of(model)
    start = Start(model, three)
    built = start.build(CONFIG)
    assert built.output_shape[-1] == 3
    same = start.build(CONFIG)
    for ours, theirs in zip(built.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs, "a function of the seed")
    *body, _, _ = model.get_weights()
    *ours, kernel, bias = built.get_weights()
    for mine, theirs in zip(ours, body, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert kernel.shape[-1] == bias.shape[-1] == 3
    images = np.random.default_rng(0).normal(size=(2, 28, 28, 1)).astype("float32")
    outputs = np.asarray(built(images)).reshape(2, 3)
    assert not np.allclose(outputs.sum(axis=-1), 1.0), "logits"
    assert_unchanged(model, before)


def test_head_of_the_same_classes_is_kept(tmp_path):
    model = STARTS["dense and softmax"]()
    data = stripes_data()
    model.save(tmp_path / "m.keras")
    assert not Start(tmp_path / "m.keras", data).keeps_head
    write_preprocessing(Preprocessing(), tmp_path / "m.keras", data.class_names)
    start = Start(tmp_path / "m.keras", data)
    assert start.keeps_head
    images = np.random.default_rng(0).normal(size=(2, 28, 28, 1)).astype("float32")
    expected = np.asarray(model(images))
    np.testing.assert_allclose(keras.ops.softmax(start.build(CONFIG)(images)), expected, rtol=1e-5)


def test_stages_freeze_and_learn_by_their_place(three):
    start = Start(STARTS["dense and softmax"](), three)
    built = start.build(CONFIG)
    assert [(layer.name, stage) for layer, stage in stages_of(built)][:3] == [
        ("first", 1),
        ("normal", 1),
        ("second", 2),
    ]
    for freeze, frozen in ((0, []), (1, ["first", "normal"]), (2, ["first", "normal", "second"]), ("all", None)):
        model = start.build(replace(CONFIG, freeze=freeze))
        still = [layer.name for layer in model.layers if layer.weights and not layer.trainable]
        assert still == (frozen if frozen is not None else ["first", "normal", "second"])
        assert all(layer.trainable for layer in start.build(replace(CONFIG, freeze=freeze), frozen=False).layers)
    rates = dict(zip((v.path.split("/")[-2] for v in built.trainable_variables), rates_of(built, 0.5), strict=True))
    assert [rates[name] for name in ("first", "normal", "second")] == [0.25, 0.25, 0.5]
    assert rates_of(built, 0.5)[-2:] == [1.0, 1.0]
    assert [stage for _, stage in stages_of(nested())] == [2, 2]


@pytest.mark.parametrize("optimizer", [keras.optimizers.SGD(0.1, momentum=0.9), keras.optimizers.AdamW(0.1)])
def test_a_rate_is_a_share_of_each_step(optimizer):
    """Against two trainers of the same numbers: what a variable moves by in a step, and the one that moves whole."""

    def moved(rates):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), L.Dense(4), L.Dense(2)])
        trainer = Trainer(model, type(optimizer).from_config(optimizer.get_config()), TrainConfig(), rates=rates)
        before = model.get_weights()
        trainer.step((np.ones((4, 3), "float32"), np.eye(2, dtype="float32")[[0, 1, 0, 0]]))
        return [after - own for after, own in zip(model.get_weights(), before, strict=True)]

    for slow, whole, rate in zip(moved([0.25, 0.5, 1.0, 1.0]), moved([]), [0.25, 0.5, 1.0, 1.0], strict=True):
        assert np.abs(whole).max() > 0
        np.testing.assert_allclose(slow, rate * whole, rtol=1e-4, atol=1e-7)


def test_frozen_stages_stay_and_a_resumed_run_has_the_same_start(three, tmp_path):
    model, other = STARTS["dense and softmax"](), STARTS["activation"]()
    other.layers[0].kernel.assign_add(np.ones(other.layers[0].kernel.shape, "float32"))
    config = replace(CONFIG, freeze=1, stage_rate=0.5)
    first = train(config, three, tmp_path / "run", start=model)
    assert all(layer.trainable for layer in first.model.layers)
    for name, moves in (("first", False), ("normal", False), ("second", True)):
        pairs = zip(first.model.get_layer(name).get_weights(), model.get_layer(name).get_weights(), strict=True)
        assert any(not np.array_equal(*pair) for pair in pairs) == moves, name
    with pytest.raises(ValueError, match="got other start_sha256") as caught:
        train(config, three, tmp_path / "run", start=other, resume=True)
    assert_sentence(caught.value, "data")


WRONG = {
    "a model for other images": lambda: keras.Sequential([keras.Input((8, 8, 1)), L.Flatten(), L.Dense(2)]),
    "a model of vectors": lambda: keras.Sequential([keras.Input((8,)), L.Dense(2)]),
    "no classifier": lambda: keras.Sequential([keras.Input((28, 28, 1)), L.Flatten(), L.LayerNormalization()]),
    "a sum at the end": lambda: keras.Model(x := keras.Input((28, 28, 1)), L.Add()([x, x])),
    "prepared": lambda: quantize.prepare(classifier(L.Dense(2))),
}


@pytest.mark.parametrize("case", WRONG)
def test_starts_that_are_none(case, three, tmp_path):
    with pytest.raises(ValueError, match="start: expected") as caught:
        train(CONFIG, three, tmp_path / "run", start=WRONG[case]())
    assert_sentence(caught.value, "start")
    assert not (tmp_path / "run").exists()


def test_settings_of_a_start_need_one(three, tmp_path):
    for settings in ({"freeze": 1}, {"stage_rate": 0.5}):
        with pytest.raises(ValueError, match="expected 0 and 1 without a start"):
            train(replace(CONFIG, **settings), three, tmp_path / "run")
    for name, value in (("freeze", "most"), ("freeze", -1), ("stage_rate", 0), ("stage_rate", 2)):
        with pytest.raises(ValueError, match=name) as caught:
            replace(CONFIG, **{name: value})
        assert_sentence(caught.value, name)


@pytest.mark.slow
def test_shipped_network_on_another_split_of_classes_is_ahead_of_a_new_one(tmp_path):
    """Three epochs on 300 images of tops, shoes and others, which it was not trained to tell."""
    shipped = saved.load()
    labels = np.array([0, 1, 0, 0, 0, 2, 0, 2, 1, 2])[shipped.labels]
    parts = Split.of(shipped.images[:300], labels[:300]), Split.of(shipped.images[300:], labels[300:])
    data = ImageData("kinds", ("tops", "others", "shoes"), *parts)
    config = TrainConfig(epochs=3)
    begun = train(config, data, tmp_path / "begun", start=shipped.folder / "model.keras")
    new = train(config, data, tmp_path / "new")
    assert begun.test_accuracy > max(0.9, new.test_accuracy + 0.03)


def test_what_the_option_from_names(tmp_path):
    """A file, or the folder of a run; its images have its size, and are prepared as it takes them."""
    model = classifier(L.Dense(2))
    keras.Sequential([keras.Input((28, 28, 1)), L.Rescaling(1 / 255), model]).save(tmp_path / "model.keras")
    for source in (tmp_path / "model.keras", tmp_path):
        start = open_start(str(source), None, None, None, None, None, None, False)
        assert (start.model, start.shape) == (tmp_path / "model.keras", (28, 28, 1))
        assert start.preparation.how == Preprocessing(scale=1.0, offset=0.0)
    assert open_start(str(tmp_path), None, None, None, "0", "255", None, False).preparation.how.scale == 255
    with pytest.raises(ValueError, match="network: expected none with --from a whole model") as caught:
        open_start(str(tmp_path), "mobilenet_v1", None, None, None, None, None, False)
    assert_sentence(caught.value, "network")
    for missing in ("none.keras", "none.tflite", "none.pt"):
        with pytest.raises(FileNotFoundError, match=f"{missing}, which does not exist"):
            open_start(missing, None, None, None, None, None, None, False)
