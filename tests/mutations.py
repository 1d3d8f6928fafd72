"""Damaged files: bits flipped, cut off, offsets that point elsewhere; and a run of loaders over many of them.

As a program, ``mutations.py KIND FILE SCRATCH COUNT``, it runs in a process of its own, which a crash or a loader that
takes all memory kills, and prints how many files were taken, how many refused, and the megabytes at most.
"""

import struct
import sys
from pathlib import Path

import numpy as np


def mutated(content, rng):
    """The bytes of a file, damaged in one of three ways."""
    damaged = bytearray(content)
    match rng.integers(3):
        case 0:
            # Structure is at the front and the back of a file; in between are weights.
            for _ in range(rng.integers(1, 9)):
                place = int(rng.integers(len(damaged)) if rng.integers(2) else rng.integers(min(4096, len(damaged))))
                damaged[place if rng.integers(2) else -1 - place] ^= 1 << int(rng.integers(8))
        case 1:
            del damaged[int(rng.integers(len(damaged))) :]
        case 2:
            for _ in range(rng.integers(1, 4)):
                place = 4 * int(rng.integers(len(damaged) // 4))
                values = (rng.integers(2**32), rng.integers(len(damaged)), rng.integers(16), 2**31 - 1, 2**32 - 1)
                struct.pack_into("<I", damaged, place, int(values[rng.integers(len(values))]))
    return bytes(damaged)


def _users(kind):
    """What reads files of a kind, as functions of a path, and what they may raise."""
    from tfsep import Conv, DepthSepConv, models, tflite, weights
    from tfsep.cost import cost
    from tfsep.weights._read_tflite import read_network_or_segmentation as read_network

    if kind == "tflite":
        return [tflite.inspect, cost, read_network]
    defs = [Conv(3, 2, 8), DepthSepConv(3, 1, 16)]
    explicit = models.MobileNetV1((32, 32, 3), 4, conv_defs=defs, padding="explicit")
    slim = models.MobileNetV1((32, 32, 3), 4, conv_defs=defs)
    loaders = {
        "safetensors": lambda path: weights.load_torch(explicit, path),
        "index": lambda path: weights.load_slim_checkpoint(slim, path, log=lambda line: None),
        "keras": models.load_model,
    }
    return [loaders[kind]]


def run(kind, file, scratch, count):
    """Read `count` damaged copies of a file; return how many were taken, and how many refused in a sentence."""
    users = _users(kind)
    content, rng = Path(file).read_bytes(), np.random.default_rng(0)
    taken, sentences = 0, []
    for _ in range(count):
        Path(scratch).write_bytes(mutated(content, rng))
        for use in users:
            try:
                use(scratch)
                taken += 1
            except ValueError as error:
                sentences.append(str(error))
    assert all("expected" in sentence and "\n" not in sentence for sentence in sentences), sentences
    return taken, len(sentences)


if __name__ == "__main__":
    taken, refused = run(*sys.argv[1:4], int(sys.argv[4]))
    # Not getrusage's peak, which begins with what the parent process had.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(taken, refused, int(peak.split()[1]) // 1024)
