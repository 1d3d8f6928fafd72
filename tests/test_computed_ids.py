"""Ids that a network computes are the model's in every recipe: files do arithmetic on them in whole numbers."""

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops

from tfsep import quantize, tflite
from tfsep.tflite import _tflite_converter

RNG = np.random.default_rng(0)
LEVELS = np.array([-1.4, -1.1, -0.85, -0.6, -0.4, -0.1, 0.1, 0.4, 0.6, 0.85, 1.1, 1.4])
"""Features that are a few steps of 8 bits from each other, and from multiples of 1/4 and 1/3, where an id ends."""
X = np.stack([RNG.permutation(LEVELS)[:5] for _ in range(24)]) + RNG.uniform(-0.01, 0.01, (24, 5))
X = X.astype("float32")


def integers(x):
    return ops.cast(x, "int32")


def floats(x):
    return ops.cast(x, "float32")


def largest(x):
    return ops.argmax(x, -1)


def digit(x, place):
    return ops.clip(ops.round(x[:, place] * 2), -3, 3) + 3


def decoded(x):
    """A row that an id chooses leads to the next id."""
    state = x + 40 * L.Embedding(16, 5, "uniform")(largest(x) * 2 + 1)
    return largest(state) + 5 * largest(x)


IDS = {
    "offset": lambda x: largest(x) + 1,
    "of both ends": lambda x: 5 * largest(x) + ops.argmin(x, -1),
    "from the last": lambda x: 10 - largest(x),
    "halved": lambda x: largest(x) // 2,
    "modulus": lambda x: ops.mod(largest(x) * 7, 5),
    "in floats": lambda x: floats(largest(x)) * 2 + 1,
    "divided in floats": lambda x: ops.floor_divide(floats(largest(x)) * 7, 3.0),
    "modulus in floats": lambda x: ops.mod(floats(largest(x)) * 7, 5.0),
    "best three": lambda x: ops.top_k(x, 3)[1] * 3 + 1,
    "cast": lambda x: integers(x) + 3,
    "rectified": lambda x: ops.relu(x) * 3 + 1,
    "cut off": lambda x: ops.relu6(x * 4) + 1,
    "rounded": lambda x: ops.clip(ops.round(x * 2), 0, 9),
    "floor of distance": lambda x: ops.floor(ops.abs(x) * 3),
    "sign": lambda x: ops.sign(x) + 1,
    "of two digits": lambda x: digit(x, 0) * 7 + digit(x, 1),
    "hashed": lambda x: ops.mod(digit(x, 0) * 31 + digit(x, 1) * 17, 47.0),
    "from a table outside": lambda x: ops.take(ops.convert_to_tensor([3, 1, 2, 0, 4]), largest(x)),
    "counted": lambda x: ops.sum(floats(x > 0), -1),
    "counted in integers": lambda x: ops.sum(integers(ops.logical_and(x > -1, x < 1)), -1),
    "positions": lambda x: ops.cumsum(integers(x > 0), -1) * integers(x > 0),
    "positions in floats": lambda x: ops.cumsum(floats(x > 0), -1),
    "bits": lambda x: ops.matmul(floats(x > 0), np.array([[1.0], [2], [4], [8], [16]], "float32")),
    "chosen": lambda x: ops.where(largest(x) > 2, largest(x) * 2, 1),
    "in bins": L.Discretization([-1.0, -0.5, 0.0, 0.5, 1.0]),
    "decoded": decoded,
}
READ = {
    "encoded": lambda x: ops.one_hot(largest(x) + 1, 7),
    "encoded from floats": lambda x: ops.one_hot(integers(floats(largest(x)) * 1.5), 7),
    "in categories": lambda x: L.CategoryEncoding(12, "multi_hot")(ops.top_k(x, 2)[1] + 1),
    "one of them": lambda x: ops.where(ops.equal(floats(largest(x)) * 2, 6)[:, None], x, 0.1 * x),
    "equal to one": lambda x: floats(ops.equal(ops.round(x), 1)),
    "numbers of their places": lambda x: ops.take_along_axis(x, largest(x)[:, None] // 2, axis=1),
    "in front of them": lambda x: x * floats(largest(x)[:, None] > np.arange(5)),
}
QUICK = {
    *("offset", "in floats", "modulus in floats", "cast", "cut off", "rounded", "counted", "positions", "in bins"),
    *("decoded", "encoded", "one of them"),
}
"""One of each way in which whole numbers are made, and read."""


@pytest.fixture(scope="module", params=["quick", pytest.param("all", marks=pytest.mark.slow)])
def network(request):
    """Features by a layer that an int8 kernel stores exactly, so that no id differs by chance."""
    keras.utils.set_random_seed(0)
    chosen = QUICK if request.param == "quick" else IDS.keys() | READ
    inputs = keras.Input((5,))
    x = L.Dense(5, kernel_initializer="identity")(inputs)
    made = {name: integers(make(x)) for name, make in IDS.items() if name in chosen}
    made = {name: y if len(y.shape) == 2 else y[:, None] for name, y in made.items()}
    ids = ops.concatenate(list(made.values()), 1)
    read = {name.replace(" ", "_"): make(x) for name, make in READ.items() if name in chosen}
    model = keras.Model(inputs, {"ids": ids, "rows": L.Embedding(64, 2, "uniform")(ids), **read, "x": x})
    return model, model.predict(X, verbose=0), [name for name, y in made.items() for _ in range(y.shape[1])]


@pytest.mark.parametrize(
    ("recipe", "more"),
    [
        pytest.param("float16", {}, marks=pytest.mark.slow),
        pytest.param("dynamic_int8", {}, marks=pytest.mark.slow),
        ("int8", {"io": "uint8", "batch_size": 4}),
        ("int16x8", {}),
    ],
)
def test_computed_ids_are_the_model_s(network, recipe, more, tmp_path):
    model, expected, names = network
    calibration = X if recipe in ("int8", "int16x8") else None
    report = tflite.export(model, tmp_path / "m.tflite", recipe, calibration, data=X, **more)
    found = tflite.predict(report.path, X)
    assert found.keys() == expected.keys()
    off = (found["ids"] != expected["ids"]).any(axis=0)
    assert not off.any(), {name for name, is_off in zip(names, off, strict=True) if is_off}
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, 0, 5e-4 if name == "rows" else 0.02, err_msg=name)
    assert not any("LOSSY" in note or "other side" in note for note in report.notes)
    assert report.verification.proof.ids.wrong_ids == 0


def test_ids_in_steps_of_a_file_are_refused(tmp_path, monkeypatch):
    """What the converter itself makes of such a model: 2.98 is cast to 2, whatever rounding may be allowed."""
    monkeypatch.setattr(_tflite_converter, "parts", lambda *_: None)
    x = keras.Input((5,))
    wrong = keras.Model(x, L.Embedding(12, 2, "uniform")(floats(largest(x)) * 2 + 1))
    with pytest.raises(tflite.VerificationError, match=r"got \d+\.\d\d% others in GATHER of .* int32") as error:
        tflite.export(wrong, tmp_path / "m.tflite", "int8", X, data=X, tolerance=1e9)
    assert error.value.report.proof.ids.wrong_ids > 0.3
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "add", [lambda a, b: a + ops.arange(4, dtype="int32"), lambda a, b: a + b, lambda a, b: b - a[:, :1] + 9]
)
def test_sums_of_ids_that_are_given(add, tmp_path):
    """Keras makes a bias of the second where it is a vector, as in a batch of 1; no file has one of integers."""
    inputs = [keras.Input((4,), dtype="int32"), keras.Input((4,), dtype="int32")]
    model = keras.Model(inputs, L.Embedding(20, 3, "uniform")(add(*inputs)))
    data = tuple(RNG.integers(0, 10, (2, 12, 4)).astype("int32"))
    for recipe, allowed in (("float32", 0.0), ("int8", 1e-3), ("int16x8", 1e-3)):
        path = tflite.export(model, tmp_path / "m.tflite", recipe, data, data=data).path
        np.testing.assert_allclose(tflite.predict(path, data), model.predict(data, verbose=0), 0, allowed)


def test_ids_near_an_edge_are_noted(tmp_path):
    """A feature in 8 bits is as often on the other side of an edge as its steps are to a distance of edges."""
    x = keras.Input((5,))
    features = L.Dense(5, kernel_initializer=keras.initializers.GlorotUniform(0))(x)
    model = keras.Model(x, L.Embedding(99, 2, "uniform")(integers(ops.round(features * 20) + 48)))
    report = tflite.export(model, tmp_path / "m.tflite", "int8", X)
    ids = report.verification.proof.ids
    assert 0 < ids.other_ids < ids.ids / 2
    assert ids.wrong_ids == 0
    assert any(f"{ids.other_ids} of {ids.ids} ids that choose rows are others" in note for note in report.notes)


def test_prepared_models_compute_ids_in_floats():
    """A range of 8 bits for 0 to 24 has no step at 7."""
    x = keras.Input((5,))
    features, embedding = L.Dense(5, kernel_initializer="identity")(x), L.Embedding(64, 2, "uniform")
    ids = {
        "places": floats(largest(features)) + floats(ops.argmin(features, -1)) * 5,
        "digits": integers(digit(features, 0) * 7 + digit(features, 1)),
    }
    model = keras.Model(x, {name: embedding(each) for name, each in ids.items()})
    prepared = quantize.observe(quantize.prepare(model), X)
    for name, values in model.predict(X, verbose=0).items():
        np.testing.assert_array_equal(prepared.predict(X, verbose=0)[name], values, err_msg=name)
    assert sum(row.reason.endswith("of ids") for row in quantize.coverage(prepared).islands) >= 2
