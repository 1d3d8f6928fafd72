"""Definitions: slim's rules for width, output stride and blocks, written again here, and the wording of errors."""

from dataclasses import replace

import numpy as np
import pytest
from checks import assert_refused, assert_sentence

from tfsep import MOBILENETV1_CONV_DEFS, Conv, DepthSepConv, defs
from tfsep.defs import InvertedResidual, Network


def slim_strides(conv_defs, output_stride):
    """(stride, rate) of each layer by slim's bookkeeping: two running products."""
    current, rate, result = 1, 1, []
    for d in conv_defs:
        if output_stride is not None and current == output_stride:
            result.append((1, rate))
            rate *= d.stride
        else:
            result.append((d.stride, 1))
            current *= d.stride
    return result


@pytest.mark.parametrize("output_stride", [None, 1, 2, 4, 8, 16, 32])
def test_output_stride_follows_slims_rule(output_stride):
    changed = defs.with_output_stride(MOBILENETV1_CONV_DEFS, output_stride)
    assert [(d.stride[0], d.rate[0]) for d in changed] == slim_strides(MOBILENETV1_CONV_DEFS, output_stride)
    assert [(type(d), d.depth) for d in changed] == [(type(d), d.depth) for d in MOBILENETV1_CONV_DEFS]


@pytest.mark.parametrize("output_stride", [12, 0, -8, 64, 8.5, "8", True])
def test_invalid_output_strides(output_stride):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        defs.with_output_stride([Conv(3, 2, 8)], output_stride)
    assert_sentence(error.value, "output_stride")


def test_output_stride_between_the_reached_ones():
    with pytest.raises(ValueError, match="output_stride: expected None or one of 1, 2, 32, 64, got 8"):
        defs.with_output_stride([Conv(3, 2, 8), Conv(3, 16, 8), Conv(3, 2, 8)], 8)


def test_output_stride_keeps_the_rate_of_a_definition():
    changed = defs.with_output_stride([Conv(3, 2, 8), Conv(3, 2, 8, (1, 3)), Conv(3, 1, 8, 2)], 2)
    assert [(d.stride, d.rate) for d in changed] == [((2, 2), (1, 1)), ((1, 1), (1, 3)), ((1, 1), (4, 4))]


def test_output_stride_needs_equal_strides():
    with pytest.raises(ValueError) as error:  # noqa: PT011
        defs.with_output_stride([Conv(3, (1, 2), 8)], 8)
    assert_sentence(error.value, "conv_defs[0].stride")


@pytest.mark.parametrize(
    ("depth", "multiplier", "least", "expected"),
    [(33, 0.75, 8, 24), (32, 0.25, 8, 8), (32, 0.1, 8, 8), (32, 0.1, 1, 3), (64, 1.5, 8, 96), (7, 1.0, 8, 8)],
)
def test_width_is_truncated_and_bounded(depth, multiplier, least, expected):
    assert defs.scale_width([Conv(3, 1, depth)], multiplier, least)[0].depth == expected


@pytest.mark.parametrize("multiplier", [0, -0.5, float("nan"), float("inf"), "1", None])
def test_invalid_width_multipliers(multiplier):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        defs.scale_width(MOBILENETV1_CONV_DEFS, multiplier)
    assert_sentence(error.value, "depth_multiplier")


def test_invalid_min_depth():
    with pytest.raises(ValueError) as error:  # noqa: PT011
        defs.scale_width(MOBILENETV1_CONV_DEFS, 1.0, 0)
    assert_sentence(error.value, "min_depth")


def test_definitions_have_slims_fields():
    d = DepthSepConv([3, 3], 2, 64)
    assert (d.kernel, d.stride, d.depth, d.rate) == ([3, 3], 2, 64, 1)
    assert Conv(kernel=[3, 3], stride=1, depth=8)._fields[:3] == ("kernel", "stride", "depth")


@pytest.mark.parametrize(
    ("entry", "argument"),
    [
        (Conv(0, 1, 8), "conv_defs[1].kernel"),
        (Conv(3, -1, 8), "conv_defs[1].stride"),
        (DepthSepConv(3, 1, 0), "conv_defs[1].depth"),
        (DepthSepConv(3, 1, 8, 0), "conv_defs[1].rate"),
        (Conv(3, 1, 8, activation=3), "conv_defs[1].activation"),
        (DepthSepConv(3, 1, 8, activation="relu66"), "conv_defs[1].activation"),
        (InvertedResidual(0, 1, 8, 6), "conv_defs[1].kernel"),
        (InvertedResidual(3, 1, 8, 0), "conv_defs[1].expansion"),
        (InvertedResidual(3, 1, 8, 6, squeeze=-0.25), "conv_defs[1].squeeze"),
        (InvertedResidual(3, 1, 8, 6, squeeze=2), "conv_defs[1].squeeze"),
        (Conv(3, 1, 8, activation="package>unknown"), "conv_defs[1].activation"),
        (InvertedResidual(3, 1, 8, 6, residual=1), "conv_defs[1].residual"),
    ],
)
def test_error_names_the_invalid_field(entry, argument):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        defs.normalize([Conv(3, 1, 8), entry])
    assert_sentence(error.value, argument)


def test_error_names_an_entry_of_another_type():
    with pytest.raises(TypeError) as error:
        defs.normalize([(3, 1, 8)])
    assert_sentence(error.value, "conv_defs[0]")


def test_empty_definitions():
    with pytest.raises(ValueError, match="conv_defs: expected at least one definition, got none"):
        defs.normalize([])


def test_resolved_names_equal_slim_end_points():
    names = [layer.name for layer in defs.resolve(MOBILENETV1_CONV_DEFS)]
    assert names == ["Conv2d_0", *(f"Conv2d_{i}_{part}" for i in range(1, 14) for part in ("depthwise", "pointwise"))]


def test_resolved_layers_have_windows_channels_and_inputs():
    full, depthwise, pointwise = defs.resolve([Conv((3, 1), 2, 8, (1, 2)), DepthSepConv(5, (1, 2), 16, 3)])
    assert full[:6] == ("Conv2d_0", "conv2d", (3, 1), (2, 2), (1, 2), 8)
    assert depthwise[:6] == ("Conv2d_1_depthwise", "depthwise_conv2d", (5, 5), (1, 2), (3, 3), None)
    assert pointwise[:6] == ("Conv2d_1_pointwise", "conv2d", (1, 1), (1, 1), (1, 1), 16)
    assert [layer.inputs for layer in (full, depthwise, pointwise)] == [
        ("input",),
        ("Conv2d_0",),
        ("Conv2d_1_depthwise",),
    ]
    assert all(layer.normalization and layer.end_points == (layer.name,) for layer in (full, depthwise, pointwise))


def test_without_depthwise_keeps_every_window_and_depth():
    changed = defs.without_depthwise([Conv(3, 2, 8), DepthSepConv((3, 5), (1, 2), 16, 2)])
    assert changed == (Conv((3, 3), (2, 2), 8, (1, 1)), Conv((3, 5), (1, 2), 16, (2, 2)))
    assert all(type(d) is Conv for d in changed)


def test_width_and_output_stride_commute():
    one = defs.with_output_stride(defs.scale_width(MOBILENETV1_CONV_DEFS, 0.5), 8)
    other = defs.scale_width(defs.with_output_stride(MOBILENETV1_CONV_DEFS, 8), 0.5)
    assert one == other


def test_transforms_do_not_change_their_argument():
    original = tuple(MOBILENETV1_CONV_DEFS)
    defs.with_output_stride(defs.scale_width(MOBILENETV1_CONV_DEFS, 0.5), 8)
    assert original == MOBILENETV1_CONV_DEFS


def test_inverted_residual_expands_to_slims_layers():
    """Expansion to six times the input's channels, squeeze-and-excite to a quarter of them, residual."""
    block = InvertedResidual(5, 1, 16, 6, squeeze=0.25, activation="hard_swish")
    layers = defs.resolve([Conv(3, 2, 16), Conv(3, 1, 16), block], naming_rule=defs.slim_places)[2:]
    assert [layer.name.removeprefix("expanded_conv/") for layer in layers] == [
        *("expand", "depthwise", "squeeze_excite/AvgPool", "squeeze_excite/Conv", "squeeze_excite/Conv_1"),
        *("squeeze_excite/mul", "project", "add"),
    ]
    assert [layer.depth for layer in layers] == [96, None, None, 24, 96, None, 16, None]
    assert [layer.activation for layer in layers] == [
        *("hard_swish", "hard_swish", None, "relu", "hard_sigmoid", None, None, None),
    ]
    assert [layer.normalization for layer in layers] == [True, True, False, False, False, False, True, False]
    assert [layer.end_points for layer in layers if layer.end_points] == [
        *(("layer_3/expansion_output",), ("layer_3/depthwise_output",), ("layer_3/output", "layer_3")),
    ]
    inputs = {layer.name.removeprefix("expanded_conv/"): layer.inputs for layer in layers}
    assert inputs["expand"] == ("Conv_1",)
    assert inputs["squeeze_excite/mul"] == ("expanded_conv/depthwise", "expanded_conv/squeeze_excite/Conv_1")
    assert inputs["add"] == ("expanded_conv/project", "Conv_1")


@pytest.mark.parametrize(
    ("block", "parts"),
    [
        (InvertedResidual(3, 1, 16, 1), ["depthwise", "project", "add"]),
        (InvertedResidual(3, 2, 16, 6), ["expand", "depthwise", "project"]),
        (InvertedResidual(3, 1, 24, 6), ["expand", "depthwise", "project"]),
        (InvertedResidual(3, 1, 16, 6, residual=False), ["expand", "depthwise", "project"]),
    ],
)
def test_inverted_residual_leaves_parts_out(block, parts):
    layers = defs.resolve([block], channels=16, naming_rule=defs.slim_places)
    assert [layer.name for layer in layers] == [f"expanded_conv/{part}" for part in parts]


def test_inverted_residual_needs_the_inputs_channels():
    with pytest.raises(ValueError) as error:  # noqa: PT011
        defs.resolve([InvertedResidual(3, 1, 16, 6)])
    assert_sentence(error.value, "channels")


def test_output_stride_goes_through_blocks():
    blocks = [
        Conv(3, 2, 16),
        InvertedResidual(3, 2, 24, 6),
        InvertedResidual(3, 2, 32, 6),
        InvertedResidual(3, 1, 32, 6),
    ]
    layers = defs.resolve(defs.with_output_stride(blocks, 4), naming_rule=defs.slim_places)
    windows = {layer.name: (layer.stride[0], layer.rate[0]) for layer in layers if layer.op == "depthwise_conv2d"}
    assert list(windows.values()) == [(2, 1), (1, 1), (1, 2)]


def slim_make_divisible(value, divisor, least):
    """TF-slim's ``_make_divisible``, in other words: the nearest multiple, unless that takes more than a tenth away."""
    nearest = max(least, divisor * int((value + divisor / 2) // divisor))
    return nearest + divisor * (nearest < 0.9 * value)


@pytest.mark.parametrize("depth", [1, 3, 8, 11.2, 12, 16, 18, 24.5, 44, 100, 1792])
@pytest.mark.parametrize("least", [1, 8, 16])
def test_make_divisible_follows_slims_rule(depth, least):
    assert defs.make_divisible(depth, least) == slim_make_divisible(depth, 8, least)


def test_width_by_another_rule_keeps_expansion_a_factor():
    network = Network([Conv(3, 2, 32), InvertedResidual(3, 1, 24, 6)], defs.MOBILENET_V2)
    assert [layer.depth for layer in network.layers(alpha=0.35)] == [16, 96, None, 8]


def test_network_record():
    network = defs.NETWORKS["fashion_mnist"]
    assert Network.of(network) is network
    assert network.conv_defs == defs.normalize(defs.FASHION_CONV_DEFS)
    assert network.layers() == defs.resolve(defs.FASHION_CONV_DEFS)
    assert replace(network, image_shape=[np.int64(32), 32, 3]).image_shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("name", None, ValueError),
        ("name", "", ValueError),
        ("scope", 3, ValueError),
        ("scope", "", ValueError),
        ("naming_rule", 3, TypeError),
        ("width_rule", 3, TypeError),
        ("activation", "relu66", ValueError),
        ("activation", None, ValueError),
        ("activation", "package>unknown", ValueError),
        ("full_width_head", 1, ValueError),
    ],
)
def test_family_checks_its_fields(field, value, kind):
    assert_refused(lambda: replace(defs.MOBILENET_V1, **{field: value}), field, kind)


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("conv_defs", 3, TypeError),
        ("family", 3, TypeError),
        ("family", "MobileNet v1", TypeError),
        ("title", None, ValueError),
        ("title", 3, ValueError),
        ("image_shape", 3, ValueError),
        ("image_shape", (3,), ValueError),
        ("image_shape", (28, 28, 0), ValueError),
        ("image_shape", (None, None, 3), ValueError),
        ("image_shape", ("28", 28, 1), ValueError),
    ],
)
def test_network_checks_its_fields(field, value, kind):
    assert_refused(lambda: replace(defs.NETWORKS["fashion_mnist"], **{field: value}), field, kind)


def test_network_refuses_entries_that_are_no_definitions():
    assert_refused(lambda: Network([3], defs.MOBILENET_V1), "conv_defs[0]", TypeError)
    assert_refused(lambda: Network.of(3), "conv_defs", TypeError)


@pytest.mark.parametrize(("multiplier", "depths"), [(0.5, [16, 16, 64]), (1.0, [32, 32, 64]), (1.5, [48, 48, 96])])
def test_full_width_head_is_never_narrowed(multiplier, depths):
    network = [Conv(3, 2, 32), Conv(1, 1, 32), Conv(1, 1, 64)]
    assert [d.depth for d in defs.scale_width(network, multiplier, full_width_head=True)] == depths
    assert [d.depth for d in defs.scale_width(network, multiplier)] == [int(multiplier * d.depth) for d in network]


def test_full_width_head_leaves_a_last_block_its_residual():
    network = Network([Conv(3, 2, 32), InvertedResidual(3, 1, 32, 6)], defs.MOBILENET_V2)
    assert network.layers(alpha=0.5)[-1].op == "add"
