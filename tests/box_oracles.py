"""References of boxes in Python's float64, written as the formulas stand, one box at a time; no code of the package."""

import math


def iou(a, b):
    """The area of the intersection of two boxes, by that of their union."""
    height = min(a[2], b[2]) - max(a[0], b[0])
    width = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(height, 0.0) * max(width, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0


def corners(row, column, height, width):
    return row - height / 2, column - width / 2, row + height / 2, column + width / 2


def encode(box, anchor, scales):
    y, x, h, w = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]
    return (
        scales[0] * (y - anchor[0]) / anchor[2],
        scales[1] * (x - anchor[1]) / anchor[3],
        scales[2] * math.log(h / anchor[2]),
        scales[3] * math.log(w / anchor[3]),
    )


def decode(offset, anchor, scales):
    return corners(
        offset[0] / scales[0] * anchor[2] + anchor[0],
        offset[1] / scales[1] * anchor[3] + anchor[1],
        math.exp(offset[2] / scales[2]) * anchor[2],
        math.exp(offset[3] / scales[3]) * anchor[3],
    )


def match(boxes, anchors, positive, negative):
    """The row of the box of each anchor, -1 for the background, -2 for neither."""
    found = []
    for anchor in anchors:
        overlaps = [iou(box, corners(*anchor)) for box in boxes]
        most = max(overlaps, default=-1.0)
        found.append(overlaps.index(most) if most >= positive else -2 if most >= negative else -1)
    pairs = [(iou(box, corners(*anchor)), -i, -j) for i, box in enumerate(boxes) for j, anchor in enumerate(anchors)]
    rows, columns = set(), set()
    for overlap, row, column in sorted(pairs, reverse=True):  # of equal ones, the first box and its first anchor
        if overlap > 0 and row not in rows and column not in columns:
            found[-column] = -row
            rows.add(row)
            columns.add(column)
    return found


def suppress(boxes, scores, iou_threshold, score_threshold, most):
    """The rows that are kept, the best first; of equal scores the first row."""
    kept = []
    for row in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        alone = all(iou(boxes[row], boxes[other]) <= iou_threshold for other in kept)
        if alone and scores[row] >= score_threshold and len(kept) < most:
            kept.append(row)
    return kept


def detections(offsets, scores, anchors, settings, background):
    """A list of (box, class, score), by the rules of TFLite_Detection_PostProcess."""
    boxes = [decode(offset, anchor, settings.scales) for offset, anchor in zip(offsets, anchors, strict=True)]
    scores = [[float(value) for value in row[background:]] for row in scores]
    limits = settings.iou_threshold, settings.score_threshold
    if settings.per_class:
        found = []
        for number in range(settings.num_classes):
            own = [row[number] for row in scores]
            kept = suppress(boxes, own, *limits, settings.detections_per_class)
            found += [(boxes[row], number, own[row]) for row in kept]
        return sorted(found, key=lambda each: -each[2])[: settings.max_detections]
    found = []
    for row in suppress(boxes, [max(each) for each in scores], *limits, settings.max_detections):
        order = sorted(range(settings.num_classes), key=lambda k: (-scores[row][k], k))
        for number in order[: settings.max_classes_per_detection]:
            found.append((boxes[row], number, scores[row][number]))
    return found


def multibox(maps, low, high, ratios, interpolated, reduce_lowest, shorter):
    """The anchors of SSD: the numbers of each, row by row. `shorter` is the shorter side's share of either."""
    count = len(maps)
    scale = lambda k: (low + high) / 2 if count == 1 else low + (high - low) * k / (count - 1)  # noqa: E731
    for k, (rows, columns) in enumerate(maps):
        if k == 0 and reduce_lowest:
            shapes = [(0.1, 1.0), (scale(0), 2.0), (scale(0), 0.5)]
        else:
            following = scale(k + 1) if k + 1 < count else 1.0
            shapes = [(scale(k), ratio) for ratio in ratios]
            shapes += [(math.sqrt(scale(k) * following), interpolated)] if interpolated else []
        for i in range(rows):
            for j in range(columns):
                for size, ratio in shapes:
                    height, width = size / math.sqrt(ratio) * shorter[0], size * math.sqrt(ratio) * shorter[1]
                    yield (i + 0.5) / rows, (j + 0.5) / columns, height, width
