"""What all tests share: a quiet TensorFlow, and files that may be beside the project."""

import gc
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import optional_packages
import pytest
import quick_cases

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT.parent / "shared" / "fixtures"


LONGEST = (
    "cli",
    "tflite",
    "notebooks",
    "sweep",
    "machines",
    "verification",
    "quantize_files",
    "records",
    "convert",
    "weights_tflite",
    "deformable",
    "train",
    "slim_checkpoint",
    "tflite_models",
    "package",
    "keras_export",
    "quantize_layers",
    "upsampling_layers",
    "conv1d",
    "quantize",
    "layers",
    "models",
    "ops",
    "image_data_format",
    "quantize_transposed",
    "weights_elsewhere",
    "slim_models",
    "surgery",
    "transposed",
    "contexts",
)
"""Files that take longest, so that they come first: no worker of a parallel run is left with one at its end."""


def pytest_configure(config):
    # xdist would begin with the files of most tests.
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    quick_cases.mark_slow_cases(items)
    optional_packages.skip_without_packages(items)
    order = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


def pytest_collection_finish():
    # TensorFlow and Keras are imported now. To look through their objects again and again is a tenth of all time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session")
def fixtures():
    """The folder of files for trials, beside the project; a test that needs it skips where it is not."""
    if not FIXTURES.is_dir():
        pytest.skip("needs the folder shared/fixtures beside the project")
    return FIXTURES


@pytest.fixture(scope="session")
def fixtures_or_none():
    """The same folder, for a test of which only a part needs it."""
    return FIXTURES if FIXTURES.is_dir() else None


@pytest.fixture(scope="session")
def times():
    """The times of one file."""
    return []


@pytest.fixture
def timed_once(times, monkeypatch):
    """Let `tflite.convert` take the times of one file for those of each: it is not them that a test is for."""
    from tfsep import tflite
    from tfsep.tflite._convert import _convert

    def benchmark_all(*arguments):
        times[:] = times or [tflite.benchmark_all(*arguments)]
        return times[0]

    monkeypatch.setattr(_convert, "benchmark_all", benchmark_all)


@pytest.fixture
def one_reference(monkeypatch):
    """Let a model be converted to float32 once, however many files are verified beside it."""
    from tfsep.tflite import _float_source
    from tfsep.tflite._tflite_converter import float32_file

    references = {}

    def reference_of(signature):
        if signature.model not in references:
            references[signature.model] = float32_file(signature)
        return references[signature.model]

    monkeypatch.setattr(_float_source, "float32_file", reference_of)
