"""Deformable convolution: a float64 loop, central differences, torchvision's border and kinks, files, and the layer."""

import itertools

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from checks import assert_close, assert_sentence
from layer_checks import check_layer

from tfsep import layers, ops, tflite
from tfsep.cost import cost
from tfsep.ops import _deform_conv, _lowering


def bilinear(image, y, x):
    """Bilinear sample (C,) of an image (H, W, C), with zeros outside."""
    top, left = int(np.floor(y)), int(np.floor(x))
    value = np.zeros(image.shape[2])
    for row, column in itertools.product((top, top + 1), (left, left + 1)):
        if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
            value += image[row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return value


def oracle(x, offset, w, mask=None, strides=1, padding="valid", rate=1):
    """One output, tap and group of channels at a time."""
    x, offset, w = (np.asarray(value, np.float64) for value in (x, offset, w))
    strides, rate = ((v, v) if isinstance(v, int) else v for v in (strides, rate))
    kh, kw, per_group, filters = w.shape
    number, rows, columns, channels = *offset.shape[:3], x.shape[3]
    (top, _), (left, _) = oracles.pads(x.shape[1:3], (kh, kw), strides, rate, padding)
    groups, each = channels // per_group, offset.shape[3] // (2 * kh * kw)
    moves = offset.reshape(number, rows, columns, each, kh, kw, 2)
    weights = np.ones(moves.shape[:-1]) if mask is None else np.asarray(mask, np.float64).reshape(moves.shape[:-1])
    y = np.zeros((number, rows, columns, filters))
    for n, i, j, di, dj in np.ndindex(number, rows, columns, kh, kw):
        seen = np.zeros(channels)
        for g in range(each):
            part = slice(g * channels // each, (g + 1) * channels // each)
            at = np.array([i * strides[0] - top + di * rate[0], j * strides[1] - left + dj * rate[1]])
            seen[part] = bilinear(x[n, ..., part], *(at + moves[n, i, j, g, di, dj])) * weights[n, i, j, g, di, dj]
        for f in range(filters):
            first = f // (filters // groups) * per_group
            y[n, i, j, f] += seen[first : first + per_group] @ w[di, dj, :, f]
    return y


def tensors(
    size=(6, 7), kernel=(3, 2), options=(1, "valid", 1), groups=1, each=1, reach=1.5, dtype="float64", images=2
):
    """x, offset, filter and mask, with fractional offsets, some of which leave the image."""
    rng = np.random.default_rng(0)
    channels = 2 * max(groups, each)
    strides, padding, rate = options
    w = rng.normal(size=(*kernel, channels // groups, 2 * groups))
    like = ops.conv2d(np.zeros((images, *size, channels)), w, strides, padding, rate)
    taps = each * kernel[0] * kernel[1]
    offset = rng.normal(size=(*like.shape[:3], 2 * taps)) * reach
    offset += np.where(np.abs(offset - np.round(offset)) < 1e-2, 0.1, 0.0)
    mask = rng.uniform(size=(*like.shape[:3], taps))
    return [tf.cast(v, dtype) for v in (rng.normal(size=(images, *size, channels)), offset, w, mask)]


def with_gradients(values, upstream, *options, op=ops.deform_conv2d, data_format="channels_last"):
    with tf.GradientTape() as tape:
        tape.watch(values)
        y = op(*values, *options, data_format=data_format)
    return y, tape.gradient(y, values, upstream)


GROUPS = [(1, 1), (2, 1), (1, 2), (2, 2), (4, 2), (2, 4)]
WINDOWS = list(itertools.product((1, 2, (1, 2)), ("valid", "same", 1, ((0, 1), (2, 0))), (1, (2, 1))))


@pytest.mark.parametrize("options", WINDOWS)
@pytest.mark.parametrize(("groups", "each"), [(1, 1), (2, 4)])
def test_values(options, groups, each):
    x, offset, w, mask = tensors(options=options, groups=groups, each=each)
    assert_close(ops.deform_conv2d(x, offset, w, mask, *options), oracle(x, offset, w, mask, *options), 1e-12)
    assert_close(ops.deform_conv2d(x, offset, w, None, *options), oracle(x, offset, w, None, *options), 1e-12)


@pytest.mark.parametrize("reach", [0.3, 3.0, 30.0])
@pytest.mark.parametrize(("groups", "each"), GROUPS)
def test_all_gradients(groups, each, reach):
    """Each against central differences of the loop, along a few random directions."""
    options = (2, 1, (1, 2))
    values = tensors((5, 6), options=options, groups=groups, each=each, reach=reach, images=1)
    expected = oracle(*values, *options)
    rng = np.random.default_rng(1)
    upstream = rng.normal(size=expected.shape)
    y, gradients = with_gradients(values, upstream, *options)
    assert_close(y, expected, 1e-12)
    names = "x", "offset", "filter", "mask"
    for at, (name, gradient) in enumerate(zip(names, gradients, strict=True)):
        for _ in range(3):
            step = rng.uniform(-1e-6, 1e-6, size=values[at].shape)
            ends = [[*values[:at], values[at] + sign * step, *values[at + 1 :]] for sign in (1, -1)]
            ahead, behind = (np.vdot(oracle(*end, *options), upstream) for end in ends)
            scale = 2 * np.linalg.norm(gradient) * np.linalg.norm(step) + 1e-12
            assert abs(2 * np.vdot(gradient, step) - (ahead - behind)) < 1e-4 * scale, name


@pytest.mark.parametrize("options", WINDOWS)
@pytest.mark.parametrize("groups", [1, 2])
def test_zero_offsets_give_conv2d(options, groups):
    x, offset, w, mask = tensors(options=options, groups=groups, dtype="float32")
    still = tf.zeros_like(offset), w, tf.ones_like(mask)
    assert_close(ops.deform_conv2d(x, *still, *options), ops.conv2d(x, w, *options))
    assert_close(ops.deform_conv2d(x, *still[:2], None, *options), ops.conv2d(x, w, *options))


def one_tap(offset, size=3):
    """The sample of a 1×1 kernel in the middle of 1..9 with an offset, and the gradient to the offset."""
    x = tf.reshape(tf.range(1.0, size * size + 1), (1, size, size, 1))
    moves = np.zeros((1, size, size, 2), "f")
    moves[0, 1, 1] = offset
    moves = tf.constant(moves)
    with tf.GradientTape() as tape:
        tape.watch(moves)
        y = ops.deform_conv2d(x, moves, tf.ones((1, 1, 1, 1)))[0, 1, 1, 0]
    return float(y), tape.gradient(y, moves)[0, 1, 1].numpy().tolist()


def test_borders_and_kinks_match_torchvision():
    """Values that torchvision 0.29 gives: on a kink the gradient is the one of the side below or to the right."""
    assert one_tap((0, 0)) == (5.0, [3.0, 1.0])
    assert one_tap((1, 0)) == (8.0, [-8.0, 1.0])
    assert one_tap((2, 0)) == (0.0, [0.0, 0.0])
    assert one_tap((-2, 0)) == (0.0, [2.0, 0.0])
    assert one_tap((-1.5, 0)) == (1.0, [2.0, 0.5])
    assert one_tap((0, -1.25)) == (3.0, [2.25, 4.0])
    assert one_tap((-9, 0)) == (0.0, [0.0, 0.0])


@pytest.mark.parametrize("far", [1e30, -1e30, np.inf, -np.inf])
def test_offsets_outside_the_image_give_zero(far):
    assert one_tap((far, 0)) == (0.0, [0.0, 0.0])
    assert one_tap((0, far)) == (0.0, [0.0, 0.0])


def test_nan_propagates():
    assert np.isnan(one_tap((np.nan, 0))[0])


@pytest.mark.parametrize(("groups", "each"), [(1, 1), (2, 4)])
def test_channels_first(groups, each):
    options = (2, 1, 2)
    values = tensors(options=options, groups=groups, each=each)
    y, gradients = with_gradients(values, None, *options)
    transposed = [values[0], values[1], values[3]]
    x, offset, mask = (tf.transpose(v, [0, 3, 1, 2]) for v in transposed)
    first, theirs = with_gradients(
        [x, offset, values[2], mask], None, *options, None, op=ops.deform_conv2d, data_format="channels_first"
    )
    assert_close(tf.transpose(first, [0, 2, 3, 1]), y, 1e-12)
    for ours, gradient in zip(theirs, gradients, strict=True):
        same = ours if ours.shape == gradient.shape else tf.transpose(ours, [0, 2, 3, 1])
        assert_close(same, gradient, 1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float16", 4e-3), ("bfloat16", 3e-2)])
@pytest.mark.parametrize(("groups", "each"), [(1, 1), (2, 2)])
def test_dtypes(dtype, tolerance, groups, each):
    values = tensors(options=(1, "same", 1), groups=groups, each=each, dtype=dtype)
    exact = [tf.cast(v, "float64") for v in values]
    y, gradients = with_gradients(values, None, 1, "same", 1)
    expected, wanted = with_gradients(exact, None, 1, "same", 1)
    assert_close(expected, oracle(*exact, 1, "same", 1), 1e-12)
    for ours, right in zip((y, *gradients), (expected, *wanted), strict=True):
        assert ours.dtype == dtype
        assert_close(tf.cast(ours, "float64"), right, tolerance)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_tall_image_in_half_precision(dtype):
    """Row 299.25 is not a number of bfloat16, nor of float16; the offset 0.25 is, and the row is an int."""
    x = tf.cast(np.arange(300)[:, None] % 2, dtype)[None, :, :, None]
    y = ops.deform_conv2d(x, tf.tile(tf.cast([[[[0.25, 0.0]]]], dtype), (1, 300, 1, 1)), tf.ones((1, 1, 1, 1), dtype))
    expected = np.where(np.arange(300) % 2, 0.75, 0.25)
    np.testing.assert_array_equal(tf.cast(y[0, :, 0, 0], "float64"), expected)


@pytest.mark.parametrize(("groups", "each"), [(1, 1), (2, 2)])
@pytest.mark.parametrize("padding", ["same", 1])
def test_unknown_sizes_and_empty_batch(groups, each, padding):
    options = (2, padding, (1, 2))
    values = tensors((7, 6), options=options, groups=groups, each=each, dtype="float32")
    open_specs = [tf.TensorSpec((None, None, None, v.shape[3]), "float32") for v in values]
    open_specs[2] = tf.TensorSpec(values[2].shape, "float32")
    run = tf.function(lambda *v: with_gradients(list(v), None, *options), input_signature=open_specs, autograph=False)
    y, gradients = run(*values)
    known, wanted = with_gradients(values, None, *options)
    for ours, right in zip((y, *gradients), (known, *wanted), strict=True):
        assert_close(ours, right, 1e-6)
    none = [v if at == 2 else v[:0] for at, v in enumerate(values)]
    for found, gradients in (run(*none), with_gradients(none, None, *options)):
        assert found.shape == (0, *y.shape[1:])
        assert [g.shape for g in gradients] == [v.shape for v in none]
        np.testing.assert_array_equal(gradients[2], np.zeros(none[2].shape))


def test_unknown_channels():
    values = tensors(options=(1, "same", 1), groups=2, dtype="float32")
    spec = tf.TensorSpec((None, None, None, None))
    run = tf.function(lambda x: ops.deform_conv2d(x, *values[1:], 1, "same", 1, 2), input_signature=[spec])
    assert_close(run(values[0]), ops.deform_conv2d(*values, 1, "same", 1))


@pytest.mark.parametrize("at", [1, 3])
def test_shape_mismatch_at_run_time(at):
    values = tensors(dtype="float32")
    spec = tf.TensorSpec((None, None, None, values[at].shape[3]))
    run = tf.function(
        lambda v: ops.deform_conv2d(*values[:at], v, *values[at + 1 :]), input_signature=[spec], autograph=False
    )
    assert_close(run(values[at]), ops.deform_conv2d(*values))
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"{'offset' if at == 1 else 'mask'}: expected"):
        run(values[at][:, 1:])


def test_many_rows_are_counted_in_int64(monkeypatch):
    values = tensors(groups=2, each=2)
    expected = ops.deform_conv2d(*values)
    monkeypatch.setattr(_deform_conv, "_index_dtype", lambda x, groups: tf.int64)
    np.testing.assert_array_equal(ops.deform_conv2d(*values), expected)


def test_index_dtype():
    shapes = {(1, 9, 9, 4): tf.int32, (2**10, 2**10, 2**10, 2**2): tf.int32, (2**11, 2**10, 2**10, 4): tf.int64}
    shapes[(None, 9, 9, 4)] = tf.int64
    for shape, dtype in shapes.items():
        assert _deform_conv._index_dtype(tf.TensorSpec(shape), 1) == dtype


@pytest.mark.parametrize("noticed", [True, False])
@pytest.mark.parametrize(("groups", "each"), [(1, 1), (2, 2)])
def test_compiled_by_xla(groups, each, noticed, monkeypatch):
    if not noticed:
        monkeypatch.setattr(_lowering, "is_compiling", lambda: False)
    values = tensors(groups=groups, each=each, dtype="float32")
    run = tf.function(lambda *v: with_gradients(list(v), None), jit_compile=True, autograph=False)
    for compiled, eager in zip(
        tf.nest.flatten(run(*values)), tf.nest.flatten(with_gradients(values, None)), strict=True
    ):
        assert_close(compiled, eager)


def test_second_derivatives():
    """Of ``sum(y²)``: the gradient's derivative along a direction, against a difference of gradients."""
    values = tensors((4, 4), (2, 2), groups=2, each=2)
    rng = np.random.default_rng(2)
    directions = [rng.normal(size=v.shape) for v in values]

    def gradients(given):
        with tf.GradientTape() as tape:
            tape.watch(given)
            loss = tf.reduce_sum(ops.deform_conv2d(*given) ** 2)
        return tape.gradient(loss, given)

    with tf.GradientTape() as tape:
        tape.watch(values)
        along = tf.add_n([tf.reduce_sum(g * d) for g, d in zip(gradients(values), directions, strict=True)])
    second = tape.gradient(along, values)
    ahead, behind = (gradients([v + s * d for v, d in zip(values, directions, strict=True)]) for s in (1e-6, -1e-6))
    for ours, one, other in zip(second, ahead, behind, strict=True):
        assert_close(ours, (one - other) / 2e-6, 1e-5)


class Deformable(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec(s) for s in ((None,) * 3 + (2,), (None,) * 3 + (8,), (2, 2, 2, 3))])
    def run(self, x, offset, w):
        with tf.GradientTape() as tape:
            tape.watch(offset)
            y = ops.deform_conv2d(x, offset, w)
        return y, tape.gradient(y, offset)


def test_saved_model(tmp_path):
    values = tensors(kernel=(2, 2), dtype="float32")[:3]
    values[2] = tf.ones((2, 2, 2, 3))
    module = Deformable()
    tf.saved_model.save(module, tmp_path / "m")
    for loaded, ours in zip(tf.saved_model.load(tmp_path / "m").run(*values), module.run(*values), strict=True):
        assert_close(loaded, ours)


@pytest.mark.parametrize(("groups", "each"), GROUPS)
@pytest.mark.parametrize("options", [(1, 1, 1), (2, (0, 2), (2, 1)), ((1, 2), 0, 2)])
def test_values_match_torchvision(groups, each, options):
    torch = pytest.importorskip("torch")
    torchvision = pytest.importorskip("torchvision.ops")
    values = tensors((9, 8), options=options, groups=groups, each=each)
    x, offset, w, mask = (torch.tensor(v.numpy()) for v in values)
    images = [v.permute(0, 3, 1, 2).requires_grad_() for v in (x, offset, mask)]
    w = w.permute(3, 2, 0, 1).requires_grad_()
    y = torchvision.deform_conv2d(images[0], images[1], w, None, *options, images[2])
    theirs = torch.autograd.grad(y, (*images[:2], w, images[2]), torch.ones_like(y))
    ours, gradients = with_gradients(values, None, *options)
    transposed = [g.permute(2, 3, 1, 0) if at == 2 else g.permute(0, 2, 3, 1) for at, g in enumerate(theirs)]
    for mine, right in zip((ours, *gradients), (y.detach().permute(0, 2, 3, 1), *transposed), strict=True):
        assert_close(mine, right, 1e-10)


X, W, MOVES, MASK = (np.zeros(shape, "f") for shape in ((1, 5, 5, 4), (3, 3, 2, 6), (1, 3, 3, 36), (1, 3, 3, 18)))
WRONG = {
    "offset channels": (ValueError, "offset", lambda: ops.deform_conv2d(X, MOVES[..., :17], W)),
    "offset groups": (ValueError, "offset", lambda: ops.deform_conv2d(X, np.zeros((1, 3, 3, 54), "f"), W)),
    "no offset": (ValueError, "offset", lambda: ops.deform_conv2d(X, MOVES[..., :0], W)),
    "offset rows": (ValueError, "offset", lambda: ops.deform_conv2d(X, MOVES[:, 1:], W)),
    "offset images": (ValueError, "offset", lambda: ops.deform_conv2d(X, np.tile(MOVES, (2, 1, 1, 1)), W)),
    "offset rank": (ValueError, "offset", lambda: ops.deform_conv2d(X, MOVES[0], W)),
    "offset dtype": (TypeError, "offset", lambda: ops.deform_conv2d(X, MOVES.astype("float64"), W)),
    "offset first": (
        ValueError,
        "offset",
        lambda: ops.deform_conv2d(X.transpose(0, 3, 1, 2), MOVES, W, data_format="channels_first"),
    ),
    "mask channels": (ValueError, "mask", lambda: ops.deform_conv2d(X, MOVES, W, MASK[..., :9])),
    "mask rows": (ValueError, "mask", lambda: ops.deform_conv2d(X, MOVES, W, MASK[:, :, 1:])),
    "mask dtype": (TypeError, "mask", lambda: ops.deform_conv2d(X, MOVES, W, MASK.astype("float16"))),
    "groups": (ValueError, "groups", lambda: ops.deform_conv2d(X, MOVES, W, groups=1)),
    "groups 0": (ValueError, "groups", lambda: ops.deform_conv2d(X, MOVES, W, groups=0)),
    "filter": (ValueError, "filter", lambda: ops.deform_conv2d(X, MOVES, W[:, :, :, :5])),
    "filter rank": (ValueError, "filter", lambda: ops.deform_conv2d(X, MOVES, W[0])),
    "strides": (ValueError, "strides", lambda: ops.deform_conv2d(X, MOVES, W, strides=0)),
    "padding": (ValueError, "padding", lambda: ops.deform_conv2d(X, MOVES, W, padding="full")),
    "rate": (ValueError, "rate", lambda: ops.deform_conv2d(X, MOVES, W, rate=-1)),
    "size": (ValueError, "input size", lambda: ops.deform_conv2d(X, MOVES, W, rate=3)),
    "layer's offset groups": (ValueError, "offset_groups", lambda: layers.DeformableConv2D(4, 3, offset_groups=0)),
    "offset groups of channels": (
        ValueError,
        "offset_groups",
        lambda: layers.DeformableConv2D(4, 3, offset_groups=3).build((None, 8, 8, 4)),
    ),
    "groups of filters": (ValueError, "groups", lambda: layers.DeformableConv2D(4, 3, groups=3)),
    "groups of channels": (
        ValueError,
        "groups",
        lambda: layers.DeformableConv2D(6, 3, groups=3).build((None, 8, 8, 4)),
    ),
    "filters": (ValueError, "filters", lambda: layers.DeformableConv2D(0, 3)),
}


@pytest.mark.parametrize("case", WRONG)
def test_errors(case):
    kind, argument, run = WRONG[case]
    for call in (run, tf.function(run, autograph=False)):
        with pytest.raises(kind) as error:
            call()
        assert_sentence(error.value, argument)


def test_errors_state_shapes_in_the_callers_layout():
    with pytest.raises(ValueError, match=r"offset: expected shape \(1, 18, 3, 3\), got \(1, 18, 2, 3\)"):
        ops.deform_conv2d(
            np.zeros((1, 4, 5, 5), "f"), MOVES.transpose(0, 3, 1, 2)[:, :18, 1:], W, data_format="channels_first"
        )


IMAGES = np.random.default_rng(0).normal(size=(2, 9, 8, 4)).astype("float32")
LAYERS = {
    "v1": {},
    "v2": {"modulated": True},
    "all": {"modulated": True, "offset_groups": 2, "groups": 2, "strides": 2, "padding": "same", "rate": (1, 2)},
    "activation": {"padding": ((1, 0), (2, 1)), "activation": "relu", "use_bias": False, "dilation_rate": 2},
}


@pytest.mark.parametrize("case", LAYERS)
def test_keras_contract(case):
    check_layer(layers.DeformableConv2D(6, 3, **LAYERS[case]), IMAGES)


def test_keras_contract_channels_first():
    options = {**LAYERS["all"], "data_format": "channels_first"}
    check_layer(layers.DeformableConv2D(6, 3, **options), IMAGES.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("case", LAYERS)
def test_new_layer_computes_a_plain_convolution(case):
    options = {k: v for k, v in LAYERS[case].items() if k not in ("modulated", "offset_groups")}
    deformable, plain = layers.DeformableConv2D(6, 3, **LAYERS[case]), layers.Conv2D(6, 3, **options)
    y = deformable(IMAGES)
    plain.build(IMAGES.shape)
    plain.set_weights([deformable.kernel, *([deformable.bias] if deformable.use_bias else [])])
    assert_close(y, plain(IMAGES) * (0.5 if deformable.modulated else 1.0))


@pytest.mark.parametrize("each", [1, 2])
def test_layer_equals_offset_convolution_and_op(each):
    layer = layers.DeformableConv2D(6, 3, 2, "same", offset_groups=each, modulated=True)
    layer.build(IMAGES.shape)
    layer.set_weights([np.random.default_rng(1).normal(size=w.shape) * 0.3 for w in layer.weights])
    moves = oracles.conv2d(IMAGES, layer.offset_kernel, 2, "same") + np.asarray(layer.offset_bias)
    offset, mask = np.split(moves, [18 * each], axis=3)
    expected = oracle(IMAGES, offset, layer.kernel, 1 / (1 + np.exp(-mask)), 2, "same") + np.asarray(layer.bias)
    assert_close(layer(IMAGES), expected)


@pytest.mark.parametrize(
    ("policy", "tolerance"), [("mixed_bfloat16", 5e-2), ("mixed_float16", 5e-3), ("float64", 1e-6)]
)
def test_dtype_policies(policy, tolerance):
    options = {"modulated": True, "offset_initializer": keras.initializers.RandomNormal(stddev=0.02)}
    layer, reference = (layers.DeformableConv2D(6, 3, dtype=d, **options) for d in (policy, "float32"))
    expected = reference(IMAGES)
    layer.build(IMAGES.shape)
    layer.set_weights(reference.get_weights())
    y = layer(IMAGES)
    assert y.dtype == layer.compute_dtype
    assert_close(tf.cast(y, "float64"), expected, tolerance)
    model = keras.Sequential([keras.Input(IMAGES.shape[1:]), layer])
    model.compile("sgd", "mse")
    before = np.array(layer.offset_kernel)
    model.fit(IMAGES, np.ones(y.shape), verbose=0)
    assert not np.array_equal(before, layer.offset_kernel)
    assert all(w.dtype == layer.variable_dtype for w in layer.weights)


def test_cost():
    """Multiplications counted: of every tap of the offsets' kernel and of the kernel; interpolation has none."""
    layer = layers.DeformableConv2D(6, 3, 2, "same", groups=2, offset_groups=2, modulated=True, name="d")
    report = cost(keras.Sequential([keras.Input((9, 8, 4)), layer]))
    assert [(r.name, r.kind, r.output_shape, r.params, r.macs) for r in report.rows] == [
        ("d/offset", "conv2d", (5, 4, 54), 9 * 4 * 54 + 54, 20 * 9 * 4 * 54),
        ("d", "deformable_conv2d", (5, 4, 6), 9 * 2 * 6 + 6, 20 * 9 * 2 * 6),
    ]
    assert report.params == layer.count_params()
    first = layers.DeformableConv2D(6, 3, modulated=True, data_format="channels_first")
    rows = cost(keras.Sequential([keras.Input((4, 9, 8)), first])).rows
    assert [r.output_shape for r in rows] == [(27, 7, 6), (6, 7, 6)]


@pytest.mark.parametrize("options", [{}, {"modulated": True, "offset_groups": 2, "groups": 2, "strides": 2, "rate": 2}])
def test_exported_file(options, tmp_path):
    """Builtin operators only; the values are verified by the export."""
    keras.utils.set_random_seed(0)
    layer = layers.DeformableConv2D(8, 3, padding="same", offset_initializer="he_normal", **options)
    model = keras.Sequential([keras.Input((12, 12, 8)), layer])
    data = np.random.default_rng(0).normal(size=(32, 12, 12, 8)).astype("float32")
    macs = [row.macs for row in cost(model).rows]
    for recipe in ("float32", "int8"):
        report = tflite.export(model, tmp_path / "m.tflite", recipe, calibration=data)
        assert not [name for name in report.ops if name.startswith("Flex")]
        assert report.ops["CONV_2D"] == 2
        assert report.ops["GATHER"] == 4
        assert "SHAPE" not in report.ops
        assert report.verification.max_error < (1e-5 if recipe == "float32" else np.inf)
        assert [row.macs for row in cost(tmp_path / "m.tflite").rows if row.macs] == macs


@pytest.mark.slow
def test_offsets_in_int16(tmp_path):
    """The offsets of an untrained layer are all zeros, which have no scale."""
    data = np.random.default_rng(0).normal(size=(8, 6, 6, 2)).astype("float32")
    learned, zeros = (
        keras.Sequential([keras.Input((6, 6, 2)), layers.DeformableConv2D(2, 3, offset_initializer=name)])
        for name in ("he_normal", "zeros")
    )
    report = tflite.export(learned, tmp_path / "m.tflite", "int16x8", data, data=data)
    assert report.verification.rms_error < 0.1
    assert not report.verification.lossy
    with pytest.raises(tflite.VerificationError, match="expected operators in integers that round to a step"):
        tflite.export(zeros, tmp_path / "zeros.tflite", "int16x8", data, data=data)
    assert not (tmp_path / "zeros.tflite").exists()


@pytest.mark.parametrize("size", [(7, 7), (7, 2), (2, 8)])
def test_exported_files_of_several_sizes(size, tmp_path):
    """A clip of integers at 6, which the converter would turn into a ReLU6 that does not exist for them."""
    inputs = keras.Input((*size, 4))
    model = keras.Model(inputs, layers.DeformableConv2D(5, 3, padding="same", offset_initializer="he_normal")(inputs))
    x = np.random.default_rng(0).normal(size=(4, *size, 4)).astype("f")
    assert tflite.export(model, tmp_path / "model.tflite", data=x).max_error < 1e-4
