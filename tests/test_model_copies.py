"""Models as other libraries make them: copies with weights of their own, and the given model as it was."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_close, assert_sentence, in_part
from keras import layers as L

from tfsep import quantize, surgery, tflite
from tfsep._keras.dtype_policy import dtype_policy
from tfsep._keras.layer_copies import BorrowedLayer, BorrowedOperation, copy_state, layer_copy
from tfsep._keras.model_copies import float32_copy
from tfsep._keras.model_graph import opened
from tfsep.cost import cost

X = np.random.default_rng(0).normal(size=(8, 8, 8, 3)).astype("float32")


class Mute(L.Layer):
    """A layer whose config lacks what its constructor takes."""

    def get_config(self):
        return super().get_config()


class LostDefault(Mute):
    def __init__(self, factor=2.0, **options):
        super().__init__(**options)
        self.factor = factor

    def build(self, shape):
        self.shift = self.add_weight(shape=shape[-1:], initializer="ones", name="shift")
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")

    def call(self, x, training=None):
        if training:
            self.calls.assign(self.calls + 1.0)
        return x * self.factor + self.shift


class Needy(Mute):
    """As ViT's embedding in keras-hub; its layers are built where it is first called."""

    def __init__(self, filters, **options):
        super().__init__(**options)
        self.body = [L.Conv2D(filters, 1), L.BatchNormalization()]

    def call(self, x):
        for layer in self.body:
            x = layer(x)
        return x


class Talkative(L.Layer):
    """A layer whose config has what its constructor does not take."""

    def call(self, x):
        return 3.0 * x

    def get_config(self):
        return {**super().get_config(), "patches": 4}


class Holder(L.Layer):
    """A layer with a variable that Keras does not track."""

    def __init__(self, **options):
        super().__init__(**options)
        self.held = tf.Variable(1.0)

    def call(self, x):
        return x * self.held


class Lazy(L.Layer):
    """A layer with a whole config, whose own layers are built where it is called."""

    def __init__(self, units=3, **options):
        super().__init__(**options)
        self.units = units
        self.dense = L.Dense(units)

    def call(self, x):
        return self.dense(x)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Masking(Mute):
    def __init__(self, value, **options):
        super().__init__(**options)
        self.value, self.supports_masking = value, True

    def call(self, x):
        return x * self.value

    def compute_mask(self, inputs, mask=None):
        return keras.ops.any(keras.ops.not_equal(inputs, 0.0), -1)


def gelu(x):
    """Not Keras's function of this name."""
    return 3.0 * x


def held():
    layer = Holder()
    layer.held.assign(5.0)
    return layer


LAYERS = {
    "a lost default": (lambda: LostDefault(3.0), BorrowedLayer),
    "a default": (LostDefault, LostDefault),
    "a lost argument": (lambda: Needy(4), BorrowedLayer),
    "an argument too many": (Talkative, BorrowedLayer),
    "an untracked variable": (held, BorrowedLayer),
    "layers built late": (lambda: Lazy(5), Lazy),
    "a lambda": (lambda: L.Lambda(lambda x: x * X.mean()), L.Lambda),
    "a lambda with arguments": (
        lambda: L.Lambda(lambda x, by: x * by, output_shape=lambda shape: shape, arguments={"by": 3.0}),
        L.Lambda,
    ),
    "a lambda with a variable": (
        lambda: L.Lambda(lambda x, by: x * by, arguments={"by": tf.Variable(3.0)}),
        L.Lambda,
    ),
    "a lambda inside": (lambda: L.TimeDistributed(L.Lambda(lambda x: x + 1)), BorrowedLayer),
    "a function of Keras's name": (lambda: L.Dense(3, activation=gelu), L.Dense),
    "such a function inside": (lambda: L.TimeDistributed(L.Dense(3, activation=gelu)), BorrowedLayer),
    "attention": (lambda: L.TimeDistributed(L.Dense(3, activation="gelu")), L.TimeDistributed),
}


@pytest.mark.parametrize("case", LAYERS)
def test_layers_are_copied_with_what_their_config_leaves_out(case):
    make, kind = LAYERS[case]
    layer = make()
    model = keras.Model(inputs := L.Input((8, 8, 3)), layer(inputs), name="model")
    for variable in model.variables:
        variable.assign(np.random.default_rng(1).uniform(1, 2, variable.shape))
    copy = layer_copy(layer)
    assert type(copy) is kind
    assert copy.name == layer.name
    twin = keras.Model(inputs := L.Input((8, 8, 3)), copy(inputs))
    copy_state(layer, copy)
    np.testing.assert_array_equal(twin(X), model(X))
    assert [w.path.split("/")[-1] for w in copy.weights] == [w.path.split("/")[-1] for w in layer.weights]
    assert not {id(w) for w in layer.variables} & {id(w) for w in copy.variables}
    assert len(layer._inbound_nodes) == 1


def test_a_borrowed_layer_trains_by_itself(tmp_path):
    """Its weights, statistics and masks are its own; it saves and loads weights, and says why it saves no more."""
    inputs, layers = L.Input((4, 3)), [Needy(4), LostDefault(3.0)]
    model = keras.Model(inputs, layers[1](layers[0](inputs[..., None, :])), name="given")
    before = [np.array(v) for v in model.variables]
    copies = [layer_copy(each) for each in layers]
    twin = keras.Model(inputs := L.Input((4, 3)), copies[1](copies[0](inputs[..., None, :])), name="twin")
    twin.compile("sgd", "mse")
    twin.fit(X[:, 0, :4], np.zeros((8, 4, 1, 4)), verbose=0)
    assert all(np.any(new != old) for new, old in zip(twin.variables, before, strict=False))
    for now, old in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(now, old)
    expected = np.array(twin(X[:, 0, :4]))
    twin.save_weights(tmp_path / "m.weights.h5")
    for variable in twin.trainable_variables:
        variable.assign(variable * 0)
    twin.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(twin(X[:, 0, :4]), expected)
    with pytest.raises(NotImplementedError) as error:
        twin.save(tmp_path / "m.keras")
    assert_sentence(error.value, "model")


def test_masks_pass_through_a_borrowed_layer():
    sequence = np.array([[[1.0], [2.0], [0.0]]], "float32")
    layer = Masking(2.0)
    layer(sequence)
    copy = layer_copy(layer)
    assert type(copy) is BorrowedLayer
    inputs = L.Input((3, 1))
    for masked in (layer(inputs), copy(inputs), copy(x=inputs)):
        assert keras.Model(inputs, L.GlobalAveragePooling1D()(masked))(sequence).numpy() == 3.0


def test_an_operation_without_a_config_is_borrowed():
    inputs = L.Input((3,))
    mapped = keras.ops.vectorized_map(lambda row: row * 2, inputs)
    operation = mapped._keras_history.operation
    copy = layer_copy(operation)
    assert type(copy) is BorrowedOperation
    np.testing.assert_array_equal(keras.Model(inputs, copy(inputs))(X[0, 0]), 2 * X[0, 0])
    assert len(operation._inbound_nodes) == 1


class Backbone(keras.Model):
    """As keras-hub's: its own config, its own arguments, results by name, attributes beside its layers."""

    def __init__(self, filters, **options):
        inputs = L.Input((8, 8, 3), name="images")
        x = L.BatchNormalization()(L.Conv2D(filters, 3, padding="same", use_bias=False)(inputs))
        x = LostDefault(3.0, name="lost")(L.ReLU()(x))
        x = L.Lambda(lambda x: x + 1, name="anonymous")(x)
        y = L.BatchNormalization()(L.Conv2D(filters, 3, strides=2)(x))
        super().__init__(inputs=inputs, outputs={"P1": x, "P2": y}, **options)
        self.filters, self.unused = filters, L.Dense(3)

    def get_config(self):
        return {"name": self.name}


class Task(keras.Model):
    """A model around a backbone, which checks its arguments."""

    def __init__(self, backbone, **options):
        inputs = backbone.input
        x = L.GlobalAveragePooling2D()(backbone(inputs)["P2"])
        super().__init__(inputs=inputs, outputs=L.Dense(3, name="head")(x), **options)
        self.backbone = backbone

    def __call__(self, *args, **kwargs):
        if args and isinstance(args[0], str):
            raise ValueError("images")
        return super().__call__(*args, **kwargs)

    def get_config(self):
        return {"backbone": self.backbone}


class Passing(Task):
    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=training, mask=mask)


class Doubling(Task):
    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)


class DoublingOutside(Task):
    def __call__(self, *args, **kwargs):
        return 2 * super().__call__(*args, **kwargs)


class Training(Task):
    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=True, mask=mask)


class Failing(Task):
    def call(self, inputs, training=None, mask=None):
        raise RuntimeError("no")


class Checking(keras.Sequential):
    def __call__(self, *args, **kwargs):
        return super().__call__(*args, **kwargs)


def nodes(model):
    return [(len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in model._flatten_layers()]


@pytest.mark.parametrize(
    ("make", "is_plain"),
    [
        (lambda: Backbone(4), True),
        (lambda: Task(Backbone(4)), True),
        (lambda: Passing(Backbone(4)), True),
        (lambda: Doubling(Backbone(4)), False),
        (lambda: DoublingOutside(Backbone(4)), False),
        (lambda: Training(Backbone(4)), False),
        (lambda: Failing(Backbone(4)), False),
        (lambda: Checking([L.Input((3,)), L.Dense(2)]), True),
    ],
)
def test_a_subclass_is_a_functional_model_if_it_computes_its_graph(make, is_plain):
    model = make()
    before = nodes(model)
    assert (opened(model) is not None) == is_plain
    assert nodes(model) == before


@pytest.mark.parametrize("make", [lambda: Task(Backbone(4), name="task"), lambda: Backbone(4, name="backbone")])
def test_models_of_other_libraries(make, tmp_path):
    """Folded, prepared and exported; they train and save as before."""
    model = make()
    for variable in model.variables:
        if "variance" in variable.path or "gamma" in variable.path:
            variable.assign(np.random.default_rng(1).uniform(0.5, 2, variable.shape))
    before, graph = {v.path: np.array(v) for v in model.variables}, nodes(model)
    expected = tf.nest.flatten(model(X, training=False))
    folded = surgery.fold_batch_norm(model)
    assert not any(isinstance(layer, L.BatchNormalization) for layer in folded._flatten_layers())
    assert not {id(v) for v in model.variables} & {id(v) for v in folded.variables}
    prepared = quantize.observe(quantize.prepare(model, float_layers=["lost", "anonymous"]), X)
    tflite.export(prepared, tmp_path / "q.tflite", "int8", data=X)
    files = [tflite.export(each, tmp_path / f"{place}.tflite", data=X) for place, each in enumerate((model, folded))]
    results = [tf.nest.flatten(tflite.predict(file.path, X)) for file in files]
    for other in (tf.nest.flatten(folded(X)), *results):
        for actual, wanted in zip(other, expected, strict=True):
            assert_close(actual, wanted, 1e-5)
    assert nodes(model) == graph
    for variable in model.variables:
        np.testing.assert_array_equal(variable, before[variable.path])
    model.compile("sgd", "mse")
    model.train_on_batch(X, tf.nest.map_structure(tf.zeros_like, model(X, training=False)))
    model.save(tmp_path / "m.keras")
    for actual, wanted in zip(tf.nest.flatten(folded(X)), expected, strict=True):
        assert_close(actual, wanted, 1e-5)


def half(policy="mixed_float16"):
    inner = keras.Sequential([L.Input((8, 8, 3)), L.Conv2D(4, 3, dtype=policy), L.BatchNormalization(dtype=policy)])
    inner.compile(loss=lambda true, found: true - found)
    inputs = L.Input((8, 8, 3))
    x = L.ReLU(dtype=policy)(inner(inputs))
    x = L.TimeDistributed(L.Conv1D(3, 3, dtype=policy), dtype=policy)(x)
    shared = L.Dense(3, dtype=policy)
    x = shared(keras.ops.cast(shared(L.Flatten()(x)[:, :3]), policy.removeprefix("mixed_")))
    return keras.Model(inputs, L.Dense(2, name="last")(x), name="half")


@pytest.mark.parametrize("policy", ["mixed_float16", "bfloat16", "float64"])
def test_a_float32_copy_is_float32_throughout(policy):
    model = half(policy)
    copy = float32_copy(model)
    layers = [layer for layer in copy._flatten_layers() if not isinstance(layer, L.InputLayer)]
    assert {layer.compute_dtype for layer in layers} == {layer.variable_dtype for layer in layers} == {"float32"}
    assert copy(X).dtype == "float32"
    assert len({id(w) for w in copy.weights}) == len(copy.weights) == len(model.weights)
    assert_close(copy(X), model(X), 0.05 if "bfloat" in policy else 0.005)
    for old, new in zip(model.weights, copy.weights, strict=True):
        assert_close(new, old, 1e-7)


def test_models_in_half_precision_are_prepared_as_their_float32_copies(tmp_path, caplog):
    inputs = L.Input((8, 8, 3))
    x = L.ReLU(dtype="mixed_float16")(
        L.BatchNormalization(dtype="mixed_float16")(L.Conv2D(4, 3, dtype="float16")(inputs))
    )
    model = keras.Model(inputs, L.Dense(3)(L.Flatten()(x)), name="half")
    with caplog.at_level("INFO", logger="tfsep"):
        prepared = quantize.observe(quantize.prepare(model), X)
    assert "half computes in float16: what is prepared is its float32 copy" in caplog.text
    assert {layer.compute_dtype for layer in prepared._flatten_layers()} == {"float32"}
    assert_close(prepared(X), model(X), 0.1)
    assert tflite.export(prepared, tmp_path / "m.tflite", "int8", data=X).verification.differing == 0


class Held(L.Layer):
    """Layers in a list and a dict."""

    def __init__(self, **options):
        super().__init__(**options)
        self.stack = [L.Conv2D(4, 3, strides=3), L.BatchNormalization()]
        self.named = {"activation": L.ReLU()}

    def call(self, x):
        for layer in self.stack:
            x = layer(x)
        return self.named["activation"](x)


class Subclassed(keras.Model):
    """Layers in attributes; `kind` is a type that its own code computes in."""

    def __init__(self, kind=None):
        super().__init__()
        self.held, self.head, self.kind = Held(), L.Dense(3), kind

    def call(self, x):
        x = keras.ops.cast(L.Flatten(dtype=self.compute_dtype)(self.held(x)), self.kind or self.compute_dtype)
        return self.head(x * keras.ops.cast(2.0, x.dtype))


def policies(model):
    return [(id(layer), layer.dtype_policy.name) for layer in model._flatten_layers()]


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("policy", in_part(["mixed_float16", "mixed_bfloat16"], 2))
def test_subclassed_models_in_half_precision(tmp_path, policy, wrapped):
    """The layers compute in float32 for each call, and have their own policy afterwards."""
    with dtype_policy(policy):
        model = keras.Sequential([L.Input((8, 8, 3)), Held(), L.Flatten(), L.Dense(3)]) if wrapped else Subclassed()
        model(X)
        before = policies(model)
        report = tflite.export(model, tmp_path / "m.tflite", data=X)
        assert tflite.verify(model, tmp_path / "m.tflite", X).rms_error < 1e-5
        assert len(tflite.compare_layers(model, tmp_path / "m.tflite", X).rows) >= 1
        assert cost(model, input_shape=(8, 8, 3)).macs == 4 * 4 * 27 + 16 * 3
        assert policies(model) == before
        assert model.dtype_policy.name == policy
        assert model(X).dtype == policy.removeprefix("mixed_")
    plain = keras.Sequential([L.Input((8, 8, 3)), Held(), L.Flatten(), L.Dense(3)]) if wrapped else Subclassed()
    plain(X)
    plain.set_weights(model.get_weights())
    assert_close(tflite.predict(tmp_path / "m.tflite", X), plain(X), 1e-5)
    assert any(f"computes in {policy.removeprefix('mixed_')}" in note for note in report.notes)


def test_code_in_half_precision_is_refused(tmp_path):
    with dtype_policy("mixed_float16"):
        model = Subclassed("float16")
        model(X)
        before = policies(model)
        with pytest.raises(ValueError, match="no operator for Mul in float16"):
            tflite.export(model, tmp_path / "m.tflite", data=X)
        assert policies(model) == before
    assert not (tmp_path / "m.tflite").exists()


def test_half_precision_that_no_config_describes_is_refused():
    inputs = L.Input((8, 8, 3))
    model = keras.Model(inputs, Needy(4, dtype="mixed_float16")(inputs))
    with pytest.raises(ValueError, match="of class Needy in float16") as error:
        float32_copy(model)
    assert_sentence(error.value, "model")
