"""Training on few images, by the default recipe: what is learned is there in inference, and the best epoch is kept."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
from checks import assert_sentence, assert_unchanged, state_of
from stripes import NETWORK, stripes

from tfsep._utils.messages import messages_to
from tfsep.data import ImageData
from tfsep.train import TrainConfig, _run, accuracy, join, train
from tfsep.train._trainer import Trainer

DEFAULTS = TrainConfig(network=NETWORK)


def data_of(count):
    return ImageData("stripes", ("above", "below"), stripes(count, 0), stripes(100, 1))


@pytest.mark.parametrize(
    ("images", "epochs"),
    [(42, 12), pytest.param(200, 6, marks=pytest.mark.slow), pytest.param(2000, 4, marks=pytest.mark.slow)],
)
def test_few_steps_give_statistics_of_the_images(images, epochs, tmp_path):
    lines = []
    with messages_to(lines.append):
        result = train(replace(DEFAULTS, epochs=epochs), data_of(images), tmp_path / "run")
    assert result.test_accuracy > (0.95 if images > 42 else 0.8)
    records = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    scores = [record["validation_accuracy"] for record in records]
    best = max(number for number, score in enumerate(scores, 1) if score == max(scores))
    assert lines[-1].startswith(f"epoch {best} of {epochs} is kept, the best by {images // 10} held-out images")
    assert result.validation_accuracy == max(scores)


def test_accuracies_that_part_ways_are_said():
    """Statistics of no data, behind which all images are of one class, and those of each batch."""
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.AveragePooling2D((14, 28)),
            keras.layers.Flatten(),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(2),
        ]
    )
    ones, zeros = np.ones(2, "float32"), np.zeros(2, "float32")
    kernel = np.array([[1, -1], [-1, 1]], "float32")
    model.set_weights([ones, zeros, np.array([500, 0], "float32"), ones, kernel, zeros])
    split, devices, lines = stripes(100, 1), join("one"), []
    before = state_of(model)
    inference = accuracy(model, split)
    with messages_to(lines.append), devices as here:
        _run._tell_if_parted(model, split, inference, here)
        _run._tell_if_parted(model, split, 0.95, here)
    assert lines == [
        f"held-out accuracy is {inference:.4f} in inference and 1.0000 where each batch is normalized by its own "
        "statistics: the moving statistics are not those of the weights; more steps, larger batches or a smaller "
        "batch_norm_decay bring them together"
    ]
    assert_unchanged(model, before)


def normalized(momentum):
    return keras.Sequential(
        [keras.Input((3,)), keras.layers.BatchNormalization(momentum=momentum), keras.layers.Dense(2)]
    )


@pytest.mark.parametrize(("momentum", "accumulate"), [(0.99, 1), (0.5, 1), (1.0, 1), (0.9, 2)])
def test_statistics_of_a_decay_that_grows(momentum, accumulate):
    """Against the recursion in float64: the decay of step n is (1 + n) / (10 + n) at most."""
    model = normalized(momentum)
    config = TrainConfig(batch_size=8, accumulate=accumulate)
    trainer = Trainer(model, keras.optimizers.SGD(0.1), config, warm_statistics=True)
    mean, variance = np.zeros(3), np.ones(3)
    for step in range(1, 13):
        batch = np.random.default_rng(step).normal(3.0, 2.0, (8, 3)).astype("float32")
        trainer.step((batch, np.eye(2, dtype="float32")[[0, 1] * 4]))
        decay = min(momentum**accumulate, (1 + step) / (10 + step))
        for statistics, own in ((np.mean, mean), (np.var, variance)):
            parts = [statistics(part.astype("float64"), axis=0) for part in np.split(batch, accumulate)]
            # The parts of a step, one after the other, by the layer's own momentum.
            shares = np.array([momentum**i * (1 - momentum) for i in range(accumulate)][::-1])
            if momentum < 1:
                own[:] = decay * own + (1 - decay) * shares @ np.array(parts) / shares.sum()
    np.testing.assert_allclose(model.layers[0].moving_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(model.layers[0].moving_variance, variance, rtol=1e-5)


def test_statistics_of_a_trained_model_keep_their_decay():
    model = normalized(0.9)
    trainer = Trainer(model, keras.optimizers.SGD(0.1), TrainConfig(batch_size=4))
    trainer.step((np.full((4, 3), 2.0, "float32"), np.eye(2, dtype="float32")[[0, 1, 0, 1]]))
    np.testing.assert_allclose(model.layers[0].moving_mean, 0.2, rtol=1e-5)


def test_shares_and_numbers_of_held_out_images():
    def held_out(images, **settings):
        return replace(DEFAULTS, **settings).held_out_of(images)

    assert [held_out(n) for n in (5, 42, 540, 60_000)] == [1, 4, 54, 5000]
    assert [held_out(200, validation=v) for v in (0, 17, 0.5, np.float64(0.25))] == [0, 17, 100, 50]
    for wrong in (-1, 1.5, "half", True, -0.5):
        with pytest.raises(ValueError, match="validation: expected") as caught:
            held_out(10, validation=wrong)
        assert_sentence(caught.value, "validation")
