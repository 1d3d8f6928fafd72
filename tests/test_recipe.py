"""The recipe: records that refuse nonsense, batches as a function of seed and epoch, a step against its formula."""

import json
import tomllib
from dataclasses import asdict, replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_sentence
from stripes import stripes

from tfsep.data import FASHION_MNIST_CLASSES, Split
from tfsep.train import FitConfig, QuantizeConfig, TrainConfig, read_config, to_toml
from tfsep.train._augment import augment, mix, random_numbers
from tfsep.train._batches import BatchPreparation, epoch_batches, smooth_labels
from tfsep.train._config import parse_setting
from tfsep.train._model_setup import build_optimizer
from tfsep.train._trainer import Trainer

PLAIN = FitConfig(flip=False, shift=0, erase=0.0, label_smoothing=0.0, average=0.0, batch_size=16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": "vgg"}, "network: expected one of mobilenet_v1, .*, fashion_mnist, .*, got 'vgg'"),
        ({"epochs": 0}, "epochs: expected a positive int, got 0"),
        ({"batch_size": -1}, "batch_size: expected a positive int, got -1"),
        ({"batch_size": "all"}, "batch_size: expected a positive int, got 'all'"),
        ({"xla": True}, "xla: expected one of auto, on, off, got True"),
        ({"accumulate": 3, "batch_size": 128}, "accumulate: expected a divisor of batch_size 128, got 3"),
        ({"optimizer": "adam"}, "optimizer: expected one of adamw, sgd, got 'adam'"),
        ({"precision": "float16"}, "precision: expected one of auto, float32, mixed_bfloat16, mixed_float16, got 'f"),
        ({"learning_rate": float("nan")}, "learning_rate: expected a number in"),
        ({"learning_rate": 0.0}, "learning_rate: expected a number greater than zero, got 0.0"),
        ({"alpha": 0}, "alpha: expected a number greater than zero, got 0.0"),
        ({"alpha": -1.0}, r"alpha: expected a number in \[0, 100\], got -1.0"),
        ({"label_smoothing": 1.0}, "label_smoothing: expected a number in"),
        ({"mixup": -0.1}, "mixup: expected a number in"),
        ({"erase": 1.1}, "erase: expected a number in"),
        ({"average": 1.0}, "average: expected a number in"),
        ({"momentum": 1.0}, "momentum: expected a number in"),
        ({"patience": 3, "validation": 0}, "patience: expected 0 where no images are held out, got 3"),
        ({"warmup_epochs": 31}, r"warmup_epochs: expected an int in \[0, 30\], got 31"),
        ({"warmup_epochs": 2, "epochs": 1}, r"warmup_epochs: expected an int in \[0, 1\], got 2"),
        ({"seed": -1}, r"seed: expected an int in \[0, 4294967295\], got -1"),
        ({"seed": 2**32}, "seed: expected an int in"),
        ({"seed": "a"}, "seed: expected an int in"),
        ({"learning_rate": "x"}, "learning_rate: expected a number in"),
        ({"alpha": None}, "alpha: expected a number in"),
        ({"network": ["a"]}, "network: expected one of"),
        ({"shift": 1.5}, "shift: expected an int in"),
        ({"validation": 1.5}, "validation: expected an int of at least 0, got 1.5"),
        ({"dropout": True}, "dropout: expected a number in"),
        ({"flip": 1}, "flip: expected True or False, got 1"),
        ({"sync_batch_norm": 0}, "sync_batch_norm: expected True or False, got 0"),
    ],
)
def test_invalid_train_settings(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        TrainConfig(**arguments)
    assert_sentence(caught.value, next(iter(arguments)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"runtime": "gpu"}, "runtime: expected one of xnnpack, reference, got 'gpu'"),
        ({"ranges": None}, "ranges: expected one of moving, learned, got None"),
        ({"float_layers": "a"}, "float_layers: expected names of layers, got 'a'"),
        ({"distill": 2}, "distill: expected a number in"),
        ({"observe": 0}, "observe: expected an int of at least 1, got 0"),
        ({"freeze_epoch": -1}, "freeze_epoch: expected an int of at least 0, got -1"),
    ],
)
def test_invalid_quantize_settings(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        QuantizeConfig(**arguments)
    assert_sentence(caught.value, next(iter(arguments)))


@pytest.mark.parametrize(("epochs", "warmup"), [(1, 0), (2, 1), (3, 2), (30, 2)])
def test_default_warmup_leaves_an_epoch(epochs, warmup):
    assert TrainConfig(epochs=epochs).warmup_epochs == warmup
    assert TrainConfig(epochs=epochs) == TrainConfig(epochs=epochs, warmup_epochs=warmup)


def test_settings_accept_numpy_numbers():
    config = TrainConfig(epochs=np.int64(3), learning_rate=np.float32(0.5), seed=np.uint8(7))
    assert json.loads(json.dumps(asdict(config))) == asdict(TrainConfig(epochs=3, learning_rate=0.5, seed=7))


@pytest.mark.parametrize(
    "config", [TrainConfig(alpha=0.5, flip=False, optimizer="sgd"), QuantizeConfig(float_layers=("a", "b"))]
)
def test_settings_round_trip_through_toml(config, tmp_path):
    text = to_toml(config, ("made by hand", "in a test"))
    assert text.startswith("# made by hand\n# in a test\n\n")
    assert tomllib.loads(text).keys() == asdict(config).keys()
    (tmp_path / "config.toml").write_text(text)
    assert type(config).of(read_config(tmp_path / "config.toml")) == config


@pytest.mark.parametrize("config", [TrainConfig(alpha=0.5), QuantizeConfig(float_layers=("a",))])
def test_settings_of_a_run_are_a_config_file(config, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(asdict(config)))
    assert type(config).of(read_config(tmp_path / "config.json")) == config


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[3]", b"3"])
def test_invalid_json_file(content, tmp_path):
    (tmp_path / "c.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"config: expected (a )?JSON") as caught:
        read_config(tmp_path / "c.json")
    assert_sentence(caught.value, "config")


@pytest.mark.parametrize("content", [b"epochs = ", b"\xff\xfe", b"= 3"])
def test_invalid_toml_file(content, tmp_path):
    (tmp_path / "c.toml").write_bytes(content)
    with pytest.raises(ValueError, match="config: expected TOML, got") as caught:
        read_config(tmp_path / "c.toml")
    assert_sentence(caught.value, "config")


def test_unknown_setting():
    with pytest.raises(ValueError, match="config: expected settings of TrainConfig, got 'distill', 'epoch'") as caught:
        TrainConfig.of({"epoch": 3, "distill": 0.5})
    assert_sentence(caught.value, "config")


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("mixup=0.2", ("mixup", 0.2)),
        ("flip=false", ("flip", False)),
        ("optimizer=sgd", ("optimizer", "sgd")),
        ('float_layers=["a"]', ("float_layers", ["a"])),
        ("float_layers=a,b", ("float_layers", ["a", "b"])),
        ("float_layers=block_1/conv, head.dense", ("float_layers", ["block_1/conv", "head.dense"])),
        ("float_layers=conv-1", ("float_layers", "conv-1")),
        ("scales=1,0.5", ("scales", [1, 0.5])),
    ],
)
def test_settings_from_the_command_line(text, setting):
    assert parse_setting(text) == setting
    if setting[0] == "float_layers":
        named = (setting[1],) if isinstance(setting[1], str) else tuple(setting[1])
        assert QuantizeConfig.of(dict([setting])).float_layers == named


@pytest.mark.parametrize(
    "text",
    ["mixup", "=3", "a b=3", "mixup=0.2.3", "mixup=", "layers=a,,b", "layers=a,["],
)
def test_invalid_setting_on_the_command_line(text):
    with pytest.raises(ValueError, match="set: expected NAME=VALUE") as caught:
        parse_setting(text)
    assert_sentence(caught.value, "set")


def numbers(rows, **columns):
    """Rows as `augment` takes them: none is mirrored, moved from the middle, or erased, but for what is given."""
    names = ("flip", "down", "right", "chance", "area", "aspect", "across", "along", "level", "share")
    table = np.full((rows, len(names)), 0.5, np.float32)
    table[:, 3] = 1.0
    for name, values in columns.items():
        table[:, names.index(name)] = values
    return tf.constant(table)


def test_augment_shifts_and_mirrors():
    image = np.zeros((5, 5, 1), np.uint8)
    image[2, 1] = 9
    config = FitConfig(shift=1, erase=0.0)
    grid = np.stack(np.meshgrid([0.2, 0.8], [0.1, 0.5, 0.9], [0.1, 0.5, 0.9]), -1).reshape(-1, 3)
    table = numbers(18, flip=grid[:, 0], down=grid[:, 1], right=grid[:, 2])
    seen = [tuple(np.argwhere(a[..., 0] == 9)[0]) for a in augment(np.stack([image] * 18), table, config).numpy()]
    # A cut one pixel further down shows what it holds one pixel further up.
    expected = [
        (2 - (int(down * 3) - 1), (3 if flip < 0.5 else 1) - (int(right * 3) - 1)) for flip, down, right in grid
    ]
    assert seen == expected
    assert len(set(seen)) == 15
    nothing = replace(config, flip=False, shift=0)
    np.testing.assert_array_equal(augment(image[None], numbers(1), nothing)[0], image)


def test_erasing_fills_one_rectangle_with_one_level():
    rng = np.random.default_rng(0)
    names = ("chance", "area", "aspect", "across", "along", "level")
    table = numbers(500, **{name: rng.random(500) for name in names})
    config = FitConfig(flip=False, shift=0, erase=0.4)
    images = rng.integers(0, 256, (500, 28, 28, 3)).astype(np.uint8)
    changed = 0
    for before, after, row in zip(images, augment(images, table, config).numpy(), table.numpy(), strict=True):
        level = int(row[8] * 256)
        places = np.argwhere((before != after).any(-1))
        assert bool(len(places)) == bool(row[3] < 0.4)
        if len(places):
            changed += 1
            (top, left), (bottom, right) = places.min(0), places.max(0)
            assert (after[top : bottom + 1, left : right + 1] == level).all()
            # Rounding a side moves it by half a pixel at most, and a side that is too long is cut.
            assert (bottom - top + 1) * (right - left + 1) <= 0.33 * 28 * 28 + 14 + 14 + 1
    assert 150 < changed < 250


def test_mixing_is_a_sum_of_two_neighbours():
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(5, 2, 2, 1)).astype("float32"), np.eye(5, dtype="float32")
    table = random_numbers(FitConfig(batch_size=5, mixup=0.5), 3)
    mixed, parts = mix(tf.constant(images), tf.constant(labels), table)
    for i, other in enumerate([1, 0, 3, 2, 4]):
        share = float(table[i, -1])
        np.testing.assert_allclose(mixed[i], share * images[i] + (1 - share) * images[other], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(parts[i], share * labels[i] + (1 - share) * labels[other], rtol=1e-6)
    assert table[0, -1] == table[1, -1] != table[2, -1]


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixup_shares_follow_the_beta_distribution(alpha):
    shares = random_numbers(FitConfig(batch_size=20_000, mixup=alpha), 0)[::2, -1].numpy()
    assert shares.mean() == pytest.approx(0.5, abs=0.01)
    assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)


def test_smoothed_labels_against_the_formula():
    expected = np.eye(3)[[1, 0]] * 0.7 + 0.1
    np.testing.assert_allclose(smooth_labels(np.array([1, 0]), 3, 0.3), expected, rtol=1e-6)


def test_epochs_differ_and_repeat():
    split = stripes(40, 0)
    config = FitConfig(batch_size=16)
    first, again, second = (
        [np.asarray(x) for x, _ in epoch_batches(split, config, BatchPreparation(config, split.preprocessing, 2), e)]
        for e in (0, 0, 1)
    )
    assert len(first) == 2
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)
    other = [
        np.asarray(x)
        for x, _ in epoch_batches(
            split, replace(config, seed=1), BatchPreparation(replace(config, seed=1), split.preprocessing, 2), 0
        )
    ]
    assert not np.array_equal(first, other)


def test_epoch_has_every_image_once():
    split = Split.of(np.arange(48, dtype=np.uint8).reshape(-1, 1, 1, 1), np.arange(48))
    seen = np.concatenate(
        [np.argmax(y, -1) for _, y in epoch_batches(split, PLAIN, BatchPreparation(PLAIN, split.preprocessing, 48), 5)]
    )
    assert sorted(seen) == list(range(48))
    assert list(seen) != list(range(48))


def test_workers_batches_join_to_the_batch_of_one_process():
    split = stripes(40, 0)
    config = FitConfig(batch_size=16, mixup=0.3, erase=0.5)
    whole = list(epoch_batches(split, config, BatchPreparation(config, split.preprocessing, 2), 1))
    parts = zip(
        *(
            epoch_batches(split, config, BatchPreparation(config, split.preprocessing, 2), 1, (worker, 2))
            for worker in (0, 1)
        ),
        strict=True,
    )
    for (x, y), (first, second) in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(x, np.concatenate([first[0], second[0]]))
        np.testing.assert_array_equal(y, np.concatenate([first[1], second[1]]))


def regression(rows):
    """A softmax regression, images and probabilities for it, and its kernel's gradient by the closed form."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 2, 2, 1)).astype("float32")
    y = rng.dirichlet(np.ones(3), rows).astype("float32")
    model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.layers[-1].set_weights([rng.normal(size=(4, 3)), rng.normal(size=3)])
    return model, x, y


def probabilities_of(model, x):
    kernel, bias = (weight.astype("float64") for weight in model.layers[-1].get_weights())
    logits = x.reshape(len(x), -1) @ kernel + bias
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def step_of(model, x, y, config, **options):
    trainer = Trainer(model, keras.optimizers.SGD(1.0), config, **options)
    return trainer, trainer.epoch([(tf.constant(x), tf.constant(y))])


@pytest.mark.parametrize("accumulate", [1, 4])
def test_training_step_follows_the_gradient(accumulate):
    """In softmax regression the gradient is xᵀ(p − y) / N."""
    model, x, y = regression(16)
    before, p = model.get_weights(), probabilities_of(model, x)
    expected = before[0] - x.reshape(16, -1).T @ (p - y) / 16
    trainer, (loss, right, *_) = step_of(model, x, y, replace(PLAIN, accumulate=accumulate))
    np.testing.assert_allclose(model.get_weights()[0], expected, rtol=1e-5, atol=1e-6)
    assert loss == pytest.approx(-(y * np.log(p)).sum(-1).mean(), rel=1e-5)
    assert right == pytest.approx((p.argmax(-1) == y.argmax(-1)).mean())
    np.testing.assert_array_equal(trainer.evaluation_weights()[0], model.get_weights()[0])


def test_teacher_replaces_its_share_of_the_labels():
    model, x, y = regression(16)
    before, p = model.get_weights(), probabilities_of(model, x)
    taught = np.random.default_rng(1).dirichlet(np.ones(3), 16)
    step_of(model, x, y, PLAIN, teacher=lambda x, training: tf.constant(taught, "float32"), distill=0.75)
    expected = before[0] - x.reshape(16, -1).T @ (p - 0.25 * y - 0.75 * taught) / 16
    np.testing.assert_allclose(model.get_weights()[0], expected, rtol=1e-5, atol=1e-6)


def test_average_is_of_the_weights_after_each_step():
    model, x, y = regression(16)
    average = model.get_weights()[0].astype("float64")
    trainer = Trainer(model, keras.optimizers.SGD(1.0), replace(PLAIN, average=0.3))
    for step in range(1, 6):
        trainer.epoch([(tf.constant(x), tf.constant(y))])
        keep = min(0.3, (1 + step) / (10 + step))
        average = keep * average + (1 - keep) * model.get_weights()[0]
        np.testing.assert_allclose(trainer.evaluation_weights()[0], average, rtol=1e-5)
    assert not np.allclose(trainer.evaluation_weights()[0], model.get_weights()[0], rtol=1e-3)


def test_weight_decay_excludes_biases_and_normalizations():
    """Without a gradient, what is left of a step is the decay."""
    inputs = keras.Input((2, 2, 1))
    net = keras.layers.BatchNormalization()(keras.layers.Conv2D(2, 1, bias_initializer="ones")(inputs))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(net))
    for name in ("adamw", "sgd"):
        optimizer = build_optimizer(FitConfig(optimizer=name, weight_decay=0.5, warmup_epochs=0, learning_rate=0.1), 10)
        before = [np.array(v) for v in model.trainable_variables]
        optimizer.apply([tf.zeros_like(v) for v in model.trainable_variables], model.trainable_variables)
        pairs = zip(model.trainable_variables, before, strict=True)
        moved = [now.path.split("/")[-1] for now, old in pairs if not np.array_equal(now, old)]
        assert moved == ["kernel"]
        np.testing.assert_allclose(model.trainable_variables[0], before[0] * 0.95, rtol=1e-6)


def test_schedule_warms_up_and_ends_at_zero():
    optimizer = build_optimizer(FitConfig(epochs=4, warmup_epochs=1, learning_rate=0.4), 10)
    rates = []
    for step in (0, 5, 10, 25, 40):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    assert rates == pytest.approx([0.0, 0.2, 0.4, 0.2, 0.0], abs=1e-6)


def test_number_of_class_names():
    assert len(set(FASHION_MNIST_CLASSES)) == 10
