"""A detector with one pass: SSDLite, whose anchors say which maps it has."""

import math
from collections.abc import Sequence

from tfsep._keras.activations import activation_function
from tfsep._keras.backend import keras
from tfsep._keras.types import ActivationLike, Model, Tensor
from tfsep._utils.arguments import number_in_range, positive_int, positive_ints
from tfsep.boxes import AnchorGrid, Anchors, ssdlite_anchors
from tfsep.layers import Conv2D
from tfsep.models._backbone import Head, Maps, maps_of
from tfsep.models._layer_builder import ArgScope

__all__ = ["ssdlite"]

_SMALLEST_PRIOR = 1e-6


def ssdlite(
    backbone: Model,
    num_classes: int,
    anchors: Anchors | None = None,
    *,
    extra_filters: Sequence[int] = (512, 256, 256, 128),
    classifier_activation: ActivationLike = "sigmoid",
    prior: float = 0.01,
    arg_scope: ArgScope | None = None,
    name: str = "ssdlite",
) -> Model:
    """Return a detector: SSD with separable convolutions.

    Each grid of the anchors has a map: the backbone's last of that size, or where it has none, the map before it, with
    half the rows and columns.

    Args:
        backbone: model from images (N, H, W, C) of a known size to maps, such as one with ``features=(16, 32)``.
        num_classes: number of classes, K, without the background.
        anchors: the anchors, A of them; None for `tfsep.boxes.ssdlite_anchors` of the image's size.
        extra_filters: channels of the maps that the backbone has not; the last number goes for those behind it.
        classifier_activation: applied to the logits; None for the logits themselves, on which `tfsep.losses` trains.
        prior: score that every class of every anchor begins with.
        arg_scope: how each layer is made, see `training_scope`; None for its defaults, with the activation ``"relu6"``.
        name: name of the model, and the prefix of its layers' names.

    Returns:
        A model from images to a dict: ``offsets``, (N, A, 4), see `tfsep.boxes.encode`, and ``classes``, (N, A, K). It
        shares the backbone's layers.

    Source: M. Sandler et al., "MobileNetV2" (arXiv 1801.04381), section 6.2; the prior: T.-Y. Lin et al., "Focal Loss"
    (arXiv 1708.02002).

    Raises:
        TypeError: if the backbone is no functional Keras model, or `anchors` are no `Anchors`.
        ValueError: for a grid of anchors that no map fits, or an argument out of range.

    Examples:
        >>> from tfsep.boxes import multibox_anchors
        >>> from tfsep.defs import NETWORKS
        >>> from tfsep.models import from_definitions
        >>> backbone = from_definitions(NETWORKS["fashion_mnist"], (32, 32, 1), features=(4,))
        >>> model = ssdlite(backbone, 10, multibox_anchors([8, 4]), extra_filters=[16])
        >>> model.output["classes"].shape
        (None, 288, 10)
    """
    maps, classes = maps_of(backbone), positive_int(num_classes, "num_classes")
    anchors = ssdlite_anchors(maps.size) if anchors is None else anchors
    if not isinstance(anchors, Anchors):
        raise TypeError(f"anchors: expected Anchors, got a {type(anchors).__name__}")
    function = activation_function(classifier_activation, "classifier_activation")
    share = number_in_range(prior, "prior", float, _SMALLEST_PRIOR, 1 - _SMALLEST_PRIOR)
    head = Head.of(name, arg_scope, "relu6")
    nets = _grid_maps(head, maps, anchors, positive_ints(extra_filters, "extra_filters", (512, 256), 1))
    logit = math.log(share / (1 - share))
    outputs = {}
    for part, kind, length, bias in (("offsets", "BoxEncoding", 4, 0.0), ("classes", "Class", classes, logit)):
        parts = [
            _predictor(head, net, grid, f"BoxPredictor_{i}/{kind}Predictor", length, bias)
            for i, (net, grid) in enumerate(zip(nets, anchors.grids, strict=True))
        ]
        outputs[part] = parts[0] if len(parts) == 1 else head.layer(keras.layers.Concatenate, part, 1)(parts)
    if classifier_activation is not None:
        scores = head.layer(keras.layers.Activation, "Predictions", function, dtype="float32")
        outputs["classes"] = scores(outputs["classes"])
    return keras.Model(maps.inputs, outputs, name=head.scope)


def _grid_maps(head: Head, maps: Maps, anchors: Anchors, extra_filters: Sequence[int]) -> list[Tensor]:
    """The map of each grid of anchors."""
    nets: list[Tensor] = []
    made = 0
    for grid in anchors.grids:
        size = grid.rows, grid.columns
        if size in maps.by_size:
            nets.append(maps.by_size[size])
            continue
        before = tuple(nets[-1].shape[1:3]) if nets else None
        if before is None or size != tuple(-(-side // 2) for side in before):
            raise ValueError(
                f"anchors: expected grids of the backbone's maps, and then of half as many rows and columns each, got "
                f"{grid.rows}×{grid.columns} for {maps.describe()}"
            )
        filters = extra_filters[min(made, len(extra_filters) - 1)]
        net = head.convolution(nets[-1], f"extra_{made}/Conv2d_1x1", max(filters // 2, 1))
        nets.append(head.separable(net, f"extra_{made}/Conv2d_3x3", filters, stride=2))
        made += 1
    return nets


def _predictor(head: Head, net: Tensor, grid: AnchorGrid, name: str, length: int, bias: float) -> Tensor:
    """The numbers of each anchor of a grid, (N, anchors, length)."""
    net = head.depthwise(net, f"{name}_depthwise")
    convolution = head.layer(
        Conv2D,
        name,
        len(grid.sizes) * length,
        1,
        kernel_initializer=head.arg_scope.initializer(),
        kernel_regularizer=head.arg_scope.regularizer(),
        bias_initializer=keras.initializers.Constant(bias),
        data_format="channels_last",
    )
    return head.layer(keras.layers.Reshape, f"{name}/Reshape", (grid.count, length))(convolution(net))
