"""References in NumPy float64, written as the formulas stand, one tap or one pixel at a time.

They share no code with the package: paddings are computed here again, from TensorFlow's definition.
"""

import numpy as np


def pads(size, kernel, strides, rate, padding):
    """((top, bottom), (left, right)) in pixels."""
    if padding == "valid":
        return (0, 0), (0, 0)
    if isinstance(padding, int):
        return (padding, padding), (padding, padding)
    if padding == "same":
        result = []
        for i, k, s, r in zip(size, kernel, strides, rate, strict=True):
            outputs = int(np.ceil(i / s))
            total = max(0, (outputs - 1) * s + r * (k - 1) + 1 - i)
            result.append((total // 2, total - total // 2))
        return tuple(result)
    return tuple((side, side) if isinstance(side, int) else side for side in padding)


def _both(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def conv2d(x, w, strides=1, padding="valid", rate=1):
    """Standard or grouped convolution, NHWC, with w (kh, kw, C / groups, F): one output pixel at a time."""
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    strides, rate = _both(strides), _both(rate)
    kh, kw, per_group, filters = w.shape
    groups = x.shape[3] // per_group
    x = np.pad(x, ((0, 0), *pads(x.shape[1:3], (kh, kw), strides, rate, padding), (0, 0)))
    rows = (x.shape[1] - (kh - 1) * rate[0] - 1) // strides[0] + 1
    columns = (x.shape[2] - (kw - 1) * rate[1] - 1) // strides[1] + 1
    y = np.zeros((x.shape[0], rows, columns, filters))
    per_output = filters // groups
    for i in range(rows):
        for j in range(columns):
            top, left = i * strides[0], j * strides[1]
            window = x[:, top : top + (kh - 1) * rate[0] + 1 : rate[0], left : left + (kw - 1) * rate[1] + 1 : rate[1]]
            for f in range(filters):
                first = (f // per_output) * per_group
                y[:, i, j, f] = np.sum(window[..., first : first + per_group] * w[..., f], axis=(1, 2, 3))
    return y


def depthwise_conv2d(x, w, strides=1, padding="valid", rate=1):
    """Depthwise convolution with w (kh, kw, C, M): one channel and one multiplier at a time, by `conv2d`."""
    channels, multiplier = w.shape[2:]
    parts = [
        conv2d(x[..., c : c + 1], w[:, :, c : c + 1, m : m + 1], strides, padding, rate)
        for c in range(channels)
        for m in range(multiplier)
    ]
    return np.concatenate(parts, axis=-1)


def separable_conv2d(x, depthwise, pointwise, strides=1, padding="valid", rate=1):
    """The two, one after the other."""
    return conv2d(depthwise_conv2d(x, depthwise, strides, padding, rate), pointwise)


def gradients(forward, x, w, upstream):
    """Gradients of ``sum(forward(x, w) · upstream)`` where forward is linear in x and in w: one element at a time.

    Each element's gradient is what a one in its place, and zeros elsewhere, gives.
    """

    def of(size, run):
        result = np.zeros(size)
        for place in np.ndindex(*size):
            unit = np.zeros(size)
            unit[place] = 1.0
            result[place] = np.sum(run(unit) * upstream)
        return result

    return of(x.shape, lambda unit: forward(unit, w)), of(w.shape, lambda unit: forward(x, unit))


def products(x, w, upstream, strides=1, padding="valid", rate=1):
    """A standard or grouped convolution, and the gradients of ``sum(y · upstream)`` to x and to w, pixel by pixel of y.

    Linear time in what it is given, where `gradients` is quadratic. A depthwise filter (kh, kw, C, M) is the grouped
    one (kh, kw, 1, C·M).
    """
    x, w, upstream = (np.asarray(value, np.float64) for value in (x, w, upstream))
    strides, rate = _both(strides), _both(rate)
    kh, kw, per_group, filters = w.shape
    groups = x.shape[3] // per_group
    around = pads(x.shape[1:3], (kh, kw), strides, rate, padding)
    padded = np.pad(x, ((0, 0), *around, (0, 0)))
    padded = padded.reshape(*padded.shape[:3], groups, per_group)
    w = w.reshape(kh, kw, per_group, groups, filters // groups)
    y, to_padded, to_w = np.zeros_like(upstream), np.zeros_like(padded), np.zeros_like(w)
    for i, j in np.ndindex(*upstream.shape[1:3]):
        rows = np.arange(kh) * rate[0] + i * strides[0]
        columns = np.arange(kw) * rate[1] + j * strides[1]
        seen = (slice(None), rows[:, None], columns[None, :])
        window, above = padded[seen], upstream[:, i, j].reshape(len(x), groups, filters // groups)
        y[:, i, j] = np.einsum("nhwgc,hwcgf->ngf", window, w).reshape(len(x), filters)
        to_padded[seen] += np.einsum("ngf,hwcgf->nhwgc", above, w)
        to_w += np.einsum("nhwgc,ngf->hwcgf", window, above)
    (top, _), (left, _) = around
    to_x = to_padded[:, top : top + x.shape[1], left : left + x.shape[2]].reshape(x.shape)
    return y, to_x, to_w.reshape(kh, kw, per_group, filters)


def conv2d_transpose(x, w, strides, rate, groups, before, size):
    """Transposed convolution to an image of this size, w (kh, kw, F / groups, C): one input pixel and tap at a time.

    `before` is the padding (top, left) of the convolution that goes the other way: outputs ahead of it are cut off.
    """
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    strides, rate = _both(strides), _both(rate)
    kh, kw, per_group, channels = w.shape
    own = channels // groups
    y = np.zeros((x.shape[0], *size, per_group * groups))
    for i, j, di, dj in np.ndindex(*x.shape[1:3], kh, kw):
        row, column = i * strides[0] + di * rate[0] - before[0], j * strides[1] + dj * rate[1] - before[1]
        if 0 <= row < size[0] and 0 <= column < size[1]:
            for g in range(groups):
                seen = x[:, i, j, g * own : (g + 1) * own]
                y[:, row, column, g * per_group : (g + 1) * per_group] += seen @ w[di, dj, :, g * own : (g + 1) * own].T
    return y


def conv1d(x, w, stride, ends, rate):
    """Standard or grouped convolution of sequences (N, L, C) with w (k, C / groups, F): one output and tap at a time.

    `ends` is the padding in pixels, (before, after).
    """
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    taps, per_group, filters = w.shape
    groups = x.shape[2] // per_group
    count = (x.shape[1] + sum(ends) - (taps - 1) * rate - 1) // stride + 1
    y = np.zeros((x.shape[0], count, filters))
    for i, f, tap in np.ndindex(count, filters, taps):
        at = i * stride + tap * rate - ends[0]
        if 0 <= at < x.shape[1]:
            first = f // (filters // groups) * per_group
            y[:, i, f] += x[:, at, first : first + per_group] @ w[tap, :, f]
    return y


def batch_normalization(x, gamma, beta, epsilon):
    """Normalize (N, H, W, C) by its own statistics: the result, the mean and the biased variance."""
    x = np.asarray(x, np.float64)
    mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    return (x - mean) / np.sqrt(variance + epsilon) * gamma + beta, mean, variance
