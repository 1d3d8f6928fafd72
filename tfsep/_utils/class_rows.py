"""Outputs of classifiers."""

import numpy as np


def is_row_of_classes(output: np.ndarray) -> bool:
    """Return whether an output is one number for each class, (N, classes).

    Examples:
        >>> is_row_of_classes(np.zeros((3, 10))), is_row_of_classes(np.zeros((3, 1)))
        (True, False)
    """
    return output.ndim == 2 and output.shape[1] > 1
