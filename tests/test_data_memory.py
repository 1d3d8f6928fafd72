"""Memory while a data set is opened, checked and read for an epoch: of a small one, and of one many times as large."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT

from tfsep import data

# By what is opened: images of a small data set and of a large one, and the most bytes that each further image may take
# at any moment. Buffers of records, which have one size whatever their number, are full from some tens of thousands on.
SIZES = {"files": (10_000, 100_000, 200), "records": (100_000, 300_000, 40)}

READ = """
import sys
from tfsep.data import EpochShard, open_data

split = open_data(sys.argv[1], (8, 8, 1)).train
split.check()
for epoch in range(2):
    for _ in split.examples(0, epoch, EpochShard(1, 2, 64)).batch(1000):
        pass
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(split.size, int(status["VmHWM"].split()[0]) * 1024)
"""


def peak(folder):
    """Images, and the most bytes that a process that reads them ever held."""
    done = subprocess.run(
        [sys.executable, "-c", READ, str(folder)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [int(number) for number in done.stdout.split()]


def write_files(folder, count):
    """A tenth as test images, with names as they come from cameras and crawlers."""
    content = tf.io.encode_png(np.zeros((8, 8, 1), np.uint8)).numpy()
    for i in range(count * 10 // 9):
        place = folder / ("train" if i < count else "test") / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"image_{i:012d}.png").write_bytes(content)


def write_records(folder, count):
    train = data.Split.of(np.zeros((count, 8, 8, 1), np.uint8), np.arange(count) % 2)
    data.write_records(data.ImageData("x", ("a", "b"), train, train.take(0, 10)), folder)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux's account of a process's memory")
@pytest.mark.parametrize("kind", SIZES)
def test_memory_per_image_is_bounded(kind, tmp_path):
    write = {"files": write_files, "records": write_records}[kind]
    *sizes, bound = SIZES[kind]
    peaks = []
    for count in sizes:
        write(tmp_path / str(count), count)
        peaks.append(peak(tmp_path / str(count)))
    (small, low), (large, high) = peaks
    assert [small, large] == sizes
    grown = (high - low) / (large - small)
    print(f"{kind}: {low / 2**20:.0f} and {high / 2**20:.0f} MiB, {grown:.0f} bytes an image")
    assert grown < bound
