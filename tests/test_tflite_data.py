"""What a user gives as data, in batches of a size that a model computes fast."""

import itertools

import numpy as np
import pytest

from tfsep._keras.sample_reader import InputSpec, SampleReader

FIELD = InputSpec("image", (2, None), "float32")
SIZES = [(1,) * 9, (3, 3, 3), (9,), (0, 4, 0, 5), (2, 7, 1)]


def pieces(sizes, width=3):
    """Batches of these sizes, and all their samples with a label each, numbered from 0."""
    whole = np.arange(sum(sizes) * 2 * width, dtype="float32").reshape(-1, 2, width)
    labels = np.arange(len(whole))
    ends = np.cumsum(sizes)[:-1]
    return list(zip(np.split(whole, ends), np.split(labels, ends), strict=True)), whole, labels


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("size", [1, 2, 4, 100])
def test_chunks_keep_the_samples_in_order(sizes, size):
    batches, whole, labels = pieces(sizes)
    chunks = list(SampleReader((FIELD,)).chunks(iter(batches), size))
    assert all(0 < chunk.size <= size for chunk in chunks)
    np.testing.assert_array_equal(np.concatenate([chunk.inputs[0] for chunk in chunks]), whole)
    np.testing.assert_array_equal(np.concatenate([chunk.labels for chunk in chunks]), labels)
    assert all(a.size + b.size > size for a, b in itertools.pairwise(chunks)), "two that were to be joined"


def test_chunks_have_one_structure():
    """Samples of another width, and those without labels, begin a new one."""
    (wide, *_), narrow = pieces([2], 5)[0], pieces([1, 1])[0]
    chunks = list(SampleReader((FIELD,)).chunks([*narrow, wide, wide[0], wide[0][:1]]))
    assert [(chunk.inputs[0].shape, chunk.labels is None) for chunk in chunks] == [
        ((2, 2, 3), False),
        ((2, 2, 5), False),
        ((3, 2, 5), True),
    ]


def test_chunks_without_a_size_are_a_few_megabytes():
    for sides, most in (((8, 8), 256), ((1024, 1024), 4), ((4096, 4096), 1)):
        reader = SampleReader((InputSpec("image", sides, "float32"),))
        sizes = [chunk.size for chunk in reader.chunks(np.broadcast_to(np.float32(0), (9, *sides)))]
        assert max(sizes) == min(most, 9)
        assert sum(sizes) == 9


def test_generator_may_reuse_its_memory():
    buffer, label = np.zeros((2, 2, 3), "float32"), np.zeros(2, int)

    def refilled():
        for number in range(5):
            buffer[:], label[:] = number, number
            yield buffer, label

    seen = [(chunk.labels.copy(), chunk.inputs[0].copy()) for chunk in SampleReader((FIELD,)).chunks(refilled(), 5)]
    expected = np.repeat(np.arange(5), 2)
    np.testing.assert_array_equal(np.concatenate([labels for labels, _ in seen]), expected)
    np.testing.assert_array_equal(np.concatenate([images[:, 1, 2] for _, images in seen]), expected)


def test_data_are_read_lazily():
    def endless():
        while True:
            yield np.zeros((2, 3), "float32")

    chunks = SampleReader((FIELD,)).chunks(endless(), 4)
    assert [next(chunks).size for _ in range(3)] == [4, 4, 4]
