"""What all tests share: a quiet TensorFlow, and files that may be beside the project."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT.parent / "shared" / "fixtures"


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
