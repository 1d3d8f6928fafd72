"""SavedModels cost what their models do, operator by operator."""

import keras
import pytest
import tensorflow as tf
from checks import assert_refused
from keras import layers as L

from tfsep import layers
from tfsep.cost import cost


class _Loop(tf.Module):
    """A convolution, a loop of products, and an einsum, in TensorFlow alone."""

    def __init__(self):
        self.kernel, self.matrix = tf.Variable(tf.ones((3, 3, 3, 4))), tf.Variable(tf.ones((4, 5)))

    @tf.function
    def __call__(self, x):
        y = tf.reduce_mean(tf.nn.conv2d(x, self.kernel, 1, "SAME"), [1, 2])
        for _ in tf.range(4):
            y = y + (y @ self.matrix)[:, :4]
        return {"y": tf.einsum("bi,ij->bj", y, self.matrix)}


def _every_product():
    inputs, other = keras.Input((8, 8, 3), name="image"), keras.Input((4,), name="other")
    x = L.BatchNormalization()(layers.SeparableConv2D(4, 3)(L.DepthwiseConv2D(3)(inputs)))
    x = L.Reshape((-1, 4))(x)
    x = L.GlobalAveragePooling1D()(L.MultiHeadAttention(2, 2)(x, x))
    return keras.Model([inputs, other], [L.Dense(2)(L.Concatenate()([x, other])), x])


@pytest.mark.parametrize("save", ["export", pytest.param("save", marks=pytest.mark.slow)])
def test_a_saved_model_costs_what_its_model_does(save, tmp_path):
    model, folder = _every_product(), tmp_path / "model"
    if save == "export":
        model.export(folder, verbose=False)
    else:
        tf.saved_model.save(model, folder)
    expected, found = cost(model), cost(folder)
    assert (found.macs, found.params, found.uncounted) == (expected.macs, expected.params, ())
    assert [row.macs for row in found.rows if "conv2d" in row.kind] == [
        row.macs for row in expected.rows if "conv2d" in row.kind
    ]
    assert cost(str(folder)) == found


def test_functions_of_tensorflow_in_a_saved_model_are_counted(tmp_path):
    module = _Loop()
    signature = module.__call__.get_concrete_function(tf.TensorSpec((None, 8, 8, 3), tf.float32))
    tf.saved_model.save(module, tmp_path / "loop", signatures=signature)
    found = cost(tmp_path / "loop")
    assert found.macs == 8 * 8 * 9 * 3 * 4 + 4 * 4 * 5 + 4 * 5
    assert (found.params, found.uncounted) == (9 * 3 * 4 + 4 * 5, ())


def test_saved_models_that_are_not_counted_say_so(tmp_path):
    determinant = keras.Sequential([keras.Input((2, 2)), L.Lambda(tf.linalg.det)])
    determinant.export(tmp_path / "det", verbose=False)
    assert "MatrixDeterminant" in " ".join(cost(tmp_path / "det").uncounted)
    inputs = keras.Input((None, None, 3))
    keras.Model(inputs, L.Conv2D(2, 3)(inputs)).export(tmp_path / "open", verbose=False)
    assert cost(tmp_path / "open", (8, 8, 3)).macs == 6 * 6 * 27 * 2
    assert_refused(lambda: cost(tmp_path / "open"), "input_shape", ValueError)
    (tmp_path / "empty").mkdir()
    assert_refused(lambda: cost(tmp_path / "empty"), "path", FileNotFoundError)
    tf.saved_model.save(_Loop(), tmp_path / "nameless")
    assert_refused(lambda: cost(tmp_path / "nameless"), "network", ValueError)
