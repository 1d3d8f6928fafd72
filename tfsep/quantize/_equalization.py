"""Equalization across layers: channels get scales that 8 bits hold alike, and the model in real numbers stays as it is.

A channel of a rectified result may be divided by any positive number, if the weights that take it are multiplied by it;
what all its numbers exceed may be subtracted in front of the rectifier, and added behind by the next bias.

Source: M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv 1906.04721),
sections 4.1 and 4.2. There, kernels have one scale each. Here each filter has one, so that the scale of a channel costs
its own filter nothing: in place of the filter's range stands that of the channel on the data.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from tfsep.quantize._channel_pairs import (
    ChannelPair,
    Member,
    change_inputs,
    change_results,
    input_weights,
    is_depthwise,
)
from tfsep.surgery._channel_affine import ChannelAffine, Obstacle

_DEVIATIONS = 8.0
"""How many standard deviations of its normalization a channel is taken to reach, where the data reach less far."""

_HEADROOM = 2.0
"""How many times as far as on the data a channel is taken to reach that has no normalization to tell."""

_DEAD = 1e-6
"""Channels below this share of the largest one, or of a filter's largest weight, keep their scale."""


class ChannelRange(NamedTuple):
    """The least and the largest number of each channel of a result.

    Attributes:
        low: (F,), float64.
        high: (F,), float64.
    """

    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of_results(cls, batches: Iterable[list[np.ndarray]]) -> "list[ChannelRange]":
        """Return those of each of several results (..., F), of which batches come one after the other."""
        found: list[ChannelRange] = []
        for results in batches:
            rows = [array.reshape(-1, array.shape[-1]).astype("float64") for array in results]
            own = [cls(each.min(0), each.max(0)) for each in rows]
            former = found or own
            found = [
                cls(np.minimum(a.low, b.low), np.maximum(a.high, b.high)) for a, b in zip(former, own, strict=True)
            ]
        return found


class Equalized(NamedTuple):
    """What `equalized` changed.

    Attributes:
        pairs: the number of pairs of layers with new scales.
        absorbed: the number of channels of which a number was subtracted.
        saturating: the number of channels that keep their scale, as their rectifier saturates on the data.
        groups: the number of groups of layers with new scales, whose results are added.
    """

    pairs: int
    absorbed: int
    saturating: int
    groups: int = 0


def equalized(pairs: Sequence[ChannelPair], ranges: Sequence[ChannelRange]) -> Equalized:
    """Change the weights of pairs, in place, by the ranges of their channels on data.

    On these data the model computes in real numbers what it did. Where a rectifier saturates at a limit, as ReLU6 does,
    dividing in front of it is not what dividing behind it is, so channels that reach the limit on the data stay.

    Args:
        pairs: the pairs.
        ranges: those of all members of the first pair, of the second, and so on.
    """
    changed = absorbed = saturating = groups = 0
    left = iter(ranges)
    for pair in pairs:
        own = [next(left) for _ in pair.members]
        limits = [np.inf if member.limit is None else member.limit for member in pair.members]
        saturates = np.any([each.high >= limit for each, limit in zip(own, limits, strict=True)], 0)
        shift = _shift(pair, own[0], ~saturates)
        try:
            affine = ChannelAffine(_scale(pair, _reach(pair, own, shift), ~saturates), shift)
            arriving = [path.arriving(affine) for path in pair.paths]
        except Obstacle:
            continue
        for producer in pair.producers:
            change_results(producer, 1 / affine.scale, -affine.shift / affine.scale)
        for path, part in zip(pair.paths, arriving, strict=True):
            change_inputs(path.layer, part)
        is_changed = bool(np.any(affine.scale != 1))
        changed += is_changed and len(own) == 1
        groups += is_changed and len(own) > 1
        absorbed += int(np.count_nonzero(shift))
        saturating += int(saturates.sum())
    return Equalized(changed, absorbed, saturating, groups)


def _shift(pair: ChannelPair, own: ChannelRange, live: np.ndarray) -> np.ndarray:
    """What the numbers of a rectified channel exceed; zeros where the next layers cannot add it."""
    shift = np.where(live & pair.takes_shift, np.maximum(_expected_least(pair.members[0], own.low), 0), 0)
    try:
        for path in pair.paths:
            path.arriving(ChannelAffine(np.ones_like(shift), shift))
    except Obstacle:
        return np.zeros_like(shift)
    return shift


def _expected_least(member: Member, low: np.ndarray) -> np.ndarray:
    """What numbers exceed on other data than those on which they exceed so much."""
    told = _told(member)
    return low / _HEADROOM if told is None else np.minimum(low, told[0] - told[1])


def _told(member: Member) -> tuple[np.ndarray, np.ndarray] | None:
    """The mean of each channel in training, and some standard deviations, by its normalization; None without one."""
    normalization = None if member.first is None else member.first.normalization
    if normalization is None:
        return None
    spread = _DEVIATIONS * np.abs(np.asarray(normalization.gamma, "float64"))
    mean = np.asarray(normalization.beta, "float64") if normalization.center else np.zeros_like(spread)
    return mean, spread


def _reach(pair: ChannelPair, own: Sequence[ChannelRange], shift: np.ndarray) -> np.ndarray:
    """How far from 0 each channel reaches, as a share of the result's largest; in the result where it is most.

    A few samples show less than there is: a channel that is made as large as they allow would be clipped on others.
    """
    shares = []
    for member, each in zip(pair.members, own, strict=True):
        reach = np.maximum(each.high - shift, -each.low)
        largest = max(reach.max(), np.finfo("float64").tiny)
        shares.append(
            np.minimum(np.where(reach > _DEAD * largest, _expected(member, reach, shift), reach) / largest, 1)
        )
    found: np.ndarray = np.max(shares, 0)
    return found


def _expected(member: Member, reach: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """How far channels reach on other data than those on which they reach so far."""
    told = _told(member)
    if told is None:
        return _HEADROOM * reach
    mean, spread = told[0] - shift, told[1]
    return np.maximum(reach, (mean if member.is_rectified else np.abs(mean)) + spread)


def _scale(pair: ChannelPair, reach: np.ndarray, live: np.ndarray) -> np.ndarray:
    """The divisor of each channel: √(range of the channel / share of its weights), so that the largest range stays.

    Where all takers are depthwise, whose channels have scales of their own, it is the range of the channel. Weights of
    channels that are 0 on the data become no larger than those of the others, whose filters' scales they would take.
    """
    zero = live & (reach <= _DEAD * reach.max())
    counted = np.where(zero, 0.0, 1.0)
    weights = _weights(pair, counted)
    live = live & ~zero & (weights > _DEAD)
    scale = np.where(live, reach, 1.0)
    if not all(is_depthwise(path.layer) for path in pair.paths):
        scale = np.sqrt(scale / np.where(live, weights, 1.0))
    largest = np.max((reach / scale)[live]) / reach.max() if live.any() else 1.0
    scale = np.where(live, scale * largest, 1.0)
    return np.where(zero, 1 / np.maximum(1, _weights(pair, counted * scale)), scale)


def _weights(pair: ChannelPair, factors: np.ndarray) -> np.ndarray:
    """The largest share of each channel's weights in those that take it, of the largest ones after factors."""
    found = [np.ones(len(factors))] if all(is_depthwise(path.layer) for path in pair.paths) else []
    for path in pair.paths:
        if not is_depthwise(path.layer):
            # Flattened pixels have the channels again and again.
            found.append(input_weights(path.layer, factors).reshape(-1, len(factors)).max(0))
    return np.max(found, 0)
