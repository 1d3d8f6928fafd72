"""Assertions that many tests share; `test_checks` feeds each one wrong answers."""

import numpy as np
import pytest


def assert_close(actual, expected, tolerance=1e-5, what=""):
    """Assert equal shapes, finite numbers, and a difference of at most `tolerance` times the largest expected one."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, expected {expected.shape}"
    if not expected.size:
        return
    assert np.isfinite(actual).all(), f"{what}: NaN or infinity"
    scale = max(np.abs(expected).max(), 1e-30)
    error = np.abs(actual - expected).max() / scale
    assert error <= tolerance, f"{what}: off by {error:.3g} of the largest, tolerance {tolerance:.3g}"


def assert_sentence(error, argument):
    """Assert that an error is one sentence that names the argument, what was expected, and what came."""
    text = str(error)
    assert text.startswith(f"{argument}:"), text
    assert "expected" in text, text
    assert ", got" in text, text
    assert "\n" not in text, text
    assert len(text) < 500, text


def places(content):
    """Yield where each stored tensor of a file's bytes begins, modulo 16."""
    from ai_edge_litert import schema_py_generated as schema

    model, base = schema.Model.GetRootAs(content), np.frombuffer(content, np.uint8).ctypes.data
    for i in range(model.BuffersLength()):
        if model.Buffers(i).DataLength():
            yield (model.Buffers(i).DataAsNumpy().ctypes.data - base) % 16


def in_part(cases, step):
    """Cases to parametrize a test with: a quick run takes every `step`-th of them, a slow one the others."""
    rows = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [pytest.param(*row, marks=pytest.mark.slow if number % step else ()) for number, row in enumerate(rows)]
