"""DeepLab out of .tflite files: Google's own, and what this library exports, with branches in any order."""

from dataclasses import replace

import numpy as np
import pytest
from checks import assert_sentence, in_part
from PIL import Image
from test_weights_tflite import BLOCKS, images, randomized

from tfsep import defs, models, quantize, tflite
from tfsep._keras.backend import keras


@pytest.mark.slow
def test_published_segmentation_loads(fixtures, tmp_path):
    folder = fixtures / "official"
    path = folder / "deeplabv3_mnv2_dm05_pascal_quant.tflite"
    image, mask = (
        np.asarray(Image.open(folder / name)) for name in ("bird_segmentation.bmp", "bird_segmentation_mask.bmp")
    )
    x = (image.astype("float32") / 127.5 - 1)[None]
    theirs = tflite.predict(path, x)
    ours = np.asarray(models.from_tflite(path)(x))
    assert np.mean(ours == theirs) > 0.99
    labels = (folder / "pascal_voc_segmentation_labels.txt").read_text().split()
    bird = labels.index("bird")
    both = [np.sum((ours[0] == k) & (mask == k)) / np.sum((ours[0] == k) | (mask == k)) for k in (0, bird)]
    assert (
        np.mean(both) > 0.9
    )  # of background and bird; the mask has a twentieth of the bird's pixels in two other classes
    prepared = models.from_tflite(path, ranges="from_file")
    exact = np.asarray(prepared(x))
    assert np.mean(exact == theirs) > np.mean(ours == theirs)
    report = tflite.export(prepared, tmp_path / "again.tflite", "int8", data=x)
    assert (report.verification.differing, report.verification.elements) == (0, 513 * 513)


def pyramid(order, aligned, end, rates=(2, 3), filters=6):
    """DeepLab's head on a small body, its branches joined in any order."""
    family = replace(defs.MOBILENET_V2, width_rule=defs.truncate)
    network = defs.Network(BLOCKS[:6], family)
    base = models.from_definitions(network, (33, 25, 3), None, min_depth=1, features=(4,))
    options = {
        "rates": rates,
        "filters": filters,
        "align_corners": aligned,
        "arg_scope": models.ArgScope(activation="relu"),
    }
    ends = {"argmax": {"argmax": True}, "softmax": {}, "": {"classifier_activation": None}}
    made = randomized(models.deeplab_v3(base, 5, 4, **options, **ends[end]), 3)
    if not order:
        return made
    # The same network with its branches in another order.
    join = made.get_layer("deeplab_v3.concat")
    parts = [join.input[place] for place in order]
    kernel = made.get_layer("deeplab_v3.concat_projection").kernel
    rows = np.concatenate([np.arange(place * filters, (place + 1) * filters) for place in order])
    net = keras.layers.Concatenate()(parts)
    behind = made.layers[made.layers.index(join) + 1 :]
    for layer in behind:
        if layer.name.endswith("concat_projection"):
            copy = type(layer).from_config(layer.get_config())
            net = copy(net)
            copy.kernel.assign(np.asarray(kernel)[:, :, rows])
        else:
            net = layer(net)
    return keras.Model(made.input, net)


PYRAMIDS = [((), False, "softmax"), ((3, 1, 0, 2), True, "argmax"), ((2, 0, 3, 1), True, "")]


@pytest.mark.parametrize(("order", "aligned", "end"), in_part(PYRAMIDS, 2))
def test_pyramids_load_whatever_their_order(order, aligned, end, tmp_path):
    model, x = pyramid(order, aligned, end), 3 * images((33, 25), 4)
    path = tflite.export(model, tmp_path / "m.tflite").path
    imported = models.from_tflite(path)
    assert imported.count_params() == model.count_params()
    np.testing.assert_allclose(imported(x), model(x), atol=1e-4)
    assert np.std(model(x)) > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("end", ["", "argmax"])
def test_ranges_of_pyramids_are_exact(end, tmp_path):
    model, x = pyramid((), True, end), 3 * images((33, 25), 4)
    path = tflite.export(quantize.observe(quantize.prepare(model), x), tmp_path / "m.tflite", "int8", data=x).path
    prepared = models.from_tflite(path, ranges="from_file")
    np.testing.assert_array_equal(prepared(x), tflite.predict(path, x))


def test_other_branches_are_refused(tmp_path):
    """Each in a sentence, as inception blocks and a decoder."""
    inputs = keras.Input((16, 16, 3))
    net = keras.layers.Conv2D(4, 3, 2, "same", activation="relu")(inputs)
    a, b = (keras.layers.Conv2D(4, k, padding="same", activation="relu")(net) for k in (1, 3))
    both = keras.layers.Concatenate()([a, b])
    wrong = {
        "no mean": keras.layers.Conv2D(3, 1)(keras.layers.Conv2D(4, 1, activation="relu")(both)),
        "twice": keras.layers.Concatenate()([both, a]),
        "of the input": keras.layers.Concatenate()([inputs, inputs * 2.0]),
    }
    for name, outputs in wrong.items():
        path = tflite.export(keras.Model(inputs, outputs), tmp_path / "m.tflite").path
        with pytest.raises(ValueError, match="expected a MobileNet v1 or v2, or DeepLab v3 on one, got") as error:
            models.from_tflite(path)
        assert_sentence(error.value, "path"), name
