"""Records: what is read is what was written, damage is named, and an epoch is every image once, for any workers."""

import itertools
import json
import os
import shutil
import struct
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from checks import assert_sentence
from typer.testing import CliRunner

from tfsep import data
from tfsep.cli import app
from tfsep.data import EpochShard
from tfsep.data._record_index import RECORDS_INDEX

CLASSES = ("a", "b", "c")


def numbered(count, first=0):
    """A split whose every image is another one: its number stands in its first two bytes."""
    images = np.zeros((count, 8, 8, 1), np.uint8)
    numbers = np.arange(first, first + count)
    images[:, 0, 0, 0], images[:, 0, 1, 0] = numbers % 256, numbers // 256
    return data.Split.of(images, numbers % 3)


def numbers(examples):
    """The numbers of examples, in order; their labels must be theirs."""
    found = []
    for image, label in examples.as_numpy_iterator():
        assert image.dtype == np.uint8
        assert image.shape == (8, 8, 1)
        found.append(int(image[0, 0, 0]) + 256 * int(image[0, 1, 0]))
        assert label == found[-1] % 3
        assert label.dtype == np.int32
    return found


@pytest.fixture(scope="module")
def arrays():
    return data.ImageData("grey", CLASSES, numbered(50), numbered(7, first=50), "free")


@pytest.fixture(scope="module")
def written(arrays, tmp_path_factory):
    return data.write_records(arrays, tmp_path_factory.mktemp("records") / "grey", shards=4)


@pytest.fixture
def folder(written, tmp_path):
    """A copy to damage."""
    return shutil.copytree(written, tmp_path / "copy")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of images by class, as PNG and JPEG files of several sizes, at several depths."""
    root = tmp_path_factory.mktemp("pictures")
    for label, name in enumerate(CLASSES):
        for i in range(10):
            pixels = tf.fill((4 + i, 9, 3), np.uint8(70 * label + 5 * i))
            below, suffix, encode = [("", "png", tf.io.encode_png), ("deep/er/", "JPG", tf.io.encode_jpeg)][i % 2]
            (root / name / below).mkdir(parents=True, exist_ok=True)
            (root / name / f"{below}{i}.{suffix}").write_bytes(encode(pixels).numpy())
    return root


@pytest.fixture(scope="module")
def splits(arrays, written, pictures):
    """One split of each kind."""
    return {
        "arrays": arrays.train,
        "records": data.open_records(written).train,
        "files": data.image_folder(pictures, (8, 8), 1).train,
    }


def test_written_arrays_are_read_back(arrays, written):
    found = data.open_data(written)
    assert (found.name, found.class_names, found.notice) == ("grey", CLASSES, "free")
    for name in ("train", "test"):
        stored, read = getattr(arrays, name), getattr(found, name)
        np.testing.assert_array_equal(read.images(), stored.images())
        np.testing.assert_array_equal(read.labels, stored.labels)
        assert read.labels.dtype == tf.int32
        assert read.fingerprint() == stored.fingerprint()
        assert (read.size, read.largest_label, read.encoding) == (stored.size, stored.largest_label, "pixels")
    assert found.train.shard_sizes == (12, 13, 12, 13)
    known = arrays.identity()
    assert found.identity() == {**known, "train_shards": [12, 13, 12, 13]}
    ((images, labels),) = data.open_batches(written, (8, 8, 1), limit=3)
    np.testing.assert_allclose(images, arrays.test.images()[:3] / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(labels, arrays.test.labels[:3])


def test_image_files_are_stored_unchanged(pictures, tmp_path):
    known = data.image_folder(pictures, (8, 6), 3)
    folder = data.write_records(known, tmp_path / "new" / "records", shards=3)
    found = data.open_data(folder)
    assert found.image_shape == (8, 6, 3)
    np.testing.assert_array_equal(found.train.images(), known.train.images())
    assert list(found.test.encoded_images()) == list(known.test.encoded_images())
    assert found.train.fingerprint() == known.train.fingerprint()
    smaller = data.open_data(folder, (None, 5, 1)).train
    assert smaller.image_shape == (8, 5, 1)
    np.testing.assert_array_equal(smaller.images(), data.image_folder(pictures, (8, 5), 1).train.images())


def test_records_have_the_tfrecord_layout(arrays, written):
    """The container is TFRecord with its checksums, read here by hand; the record is an Example."""
    content = (written / "train-00000-of-00004.tfrecord").read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    example = tf.train.Example.FromString(content[12 : 12 + length]).features.feature
    assert sorted(example) == ["image/class/label", "image/encoded"]
    assert example["image/encoded"].bytes_list.value[0] == arrays.train.images()[0].tobytes()
    assert example["image/class/label"].int64_list.value[0] == 0
    assert len(content) == 12 * (length + 16)


def test_records_can_be_rewritten(written, tmp_path):
    known = data.open_data(written)
    again = data.open_data(data.write_records(known, tmp_path / "again", shards=100))
    assert again.train.shard_sizes == (1,) * 50
    assert again.test.fingerprint() == known.test.fingerprint()
    assert json.loads((written / RECORDS_INDEX).read_text())["splits"]["train"]["largest_label"] == 2


@pytest.mark.parametrize("kind", ["arrays", "records", "files"])
def test_take_and_shard_are_slices(splits, kind):

    def stored(split):
        return list(split.encoded_images())

    split = splits[kind]
    whole = stored(split)
    for start, stop in [(0, None), (0, 5), (12, 25), (11, 26), (-7, None), (3, -3), (9, 9), (20, 10), (0, 1000)]:
        part = split.take(start, stop)
        assert stored(part) == whole[start:stop]
        assert part.size == len(whole[start:stop])
    inner = split.take(4, 22).take(2, 15)
    assert stored(inner) == whole[6:19]
    np.testing.assert_array_equal(inner.images(), split.images()[6:19])
    np.testing.assert_array_equal(inner.labels, [label for _, label in whole[6:19]])
    for count in (1, 3):
        shards = [split.shard(count, i) for i in range(count)]
        assert list(itertools.chain(*map(stored, shards))) == whole
        assert max(s.size for s in shards) - min(s.size for s in shards) <= 1


@pytest.mark.parametrize("kind", ["arrays", "records"])
def test_epoch_order_depends_on_seed_and_epoch_only(splits, kind):
    orders = []
    for seed, epoch, elsewhere in [(0, 0, 1), (0, 0, 2), (0, 1, 1), (1, 0, 1)]:
        tf.random.set_seed(elsewhere)
        np.random.seed(elsewhere)  # noqa: NPY002 - what an epoch must not depend on
        orders.append(numbers(splits[kind].examples(seed, epoch)))
        assert sorted(orders[-1]) == list(range(50))
    assert orders[0] == orders[1]
    assert len({tuple(order) for order in [*orders, list(range(50))]}) == 4
    held = splits[kind].take(10, 30)
    assert sorted(numbers(held.examples(0, 0))) == list(range(10, 30))


def test_epoch_of_image_files(splits):
    split = splits["files"]
    seen = [(int(image[0, 0, 0]), int(label)) for image, label in split.examples(3, 1).as_numpy_iterator()]
    assert Counter(seen) == Counter(
        (int(i[0, 0, 0]), int(y)) for i, y in zip(split.images(), split.labels, strict=True)
    )


def test_epoch_orders_are_uncorrelated():
    """TensorFlow's own stateless shuffle of numbers fails here, with a correlation of two epochs of up to 0.9."""
    split = data.Split.of(np.zeros((10_000, 1, 1, 1), np.uint8), np.arange(10_000))
    orders = [
        np.concatenate(list(split.examples(0, epoch).map(lambda _, y: y).batch(1000).as_numpy_iterator()))
        for epoch in range(2)
    ]
    for one, other in [(orders[0], orders[1]), (orders[0], np.arange(10_000)), (orders[0][1:], orders[0][:-1])]:
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.05


def test_records_are_mixed_across_shards(tmp_path):
    """Of images in the order of their classes, each shard being of one class, any few are of several classes."""
    images, labels = np.zeros((400, 8, 8, 1), np.uint8), np.repeat(np.arange(8), 50)
    split = data.Split.of(images, labels)
    folder = data.write_records(data.ImageData("x", tuple("abcdefgh"), split, split), tmp_path / "x", shards=8)
    seen = np.array([int(y) for _, y in data.open_records(folder).train.examples(0, 0)]).reshape(-1, 20)
    assert min(len(set(batch)) for batch in seen) >= 5


@pytest.mark.parametrize("kind", ["arrays", "records"])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_see_every_image_once(splits, kind, workers):
    split = splits[kind]
    for epoch in (0, 1):
        shards = [EpochShard(i, workers, batch_size=4) for i in range(workers)]
        seen = [numbers(split.examples(7, epoch, shard)) for shard in shards]
        assert [len(s) for s in seen] == [shard.size(50) for shard in shards]
        assert sorted(itertools.chain(*seen)) == list(range(50))
        assert all(shard.steps(50) == 50 // (4 * workers) <= len(s) // 4 for shard, s in zip(shards, seen, strict=True))


def test_workers_batches_join_to_the_batch_of_one_process(splits):
    whole = numbers(splits["arrays"].examples(7, 2))
    seen = [numbers(splits["arrays"].examples(7, 2, EpochShard(i, 3, batch_size=4))) for i in range(3)]
    for step in range(EpochShard(0, 3, 4).steps(50)):
        together = itertools.chain(*(own[4 * step : 4 * step + 4] for own in seen))
        assert list(together) == whole[12 * step : 12 * step + 12]


def test_epoch_shards_divide_any_number_of_images():
    for images in range(30):
        for count in (1, 2, 5):
            for batch_size in (1, 3):
                shards = [EpochShard(i, count, batch_size) for i in range(count)]
                positions = [shard.positions(images) for shard in shards]
                assert sorted(np.concatenate(positions)) == list(range(images))
                assert [shard.size(images) for shard in shards] == [len(p) for p in positions]
                assert len({shard.steps(images) for shard in shards}) == 1
                assert all(shard.steps(images) * batch_size <= shard.size(images) for shard in shards)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"index": 2, "count": 2}, "index"),
        ({"index": -1}, "index"),
        ({"index": 0.5}, "index"),
        ({"count": 0}, "count"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": "x"}, "batch_size"),
    ],
)
def test_epoch_shard_refuses(fields, name):
    with pytest.raises(ValueError, match="expected") as caught:
        EpochShard(**fields)
    assert_sentence(caught.value, name)


@pytest.mark.parametrize("kind", ["arrays", "records"])
def test_examples_refuses_wrong_arguments(splits, kind):
    for arguments, name in [((-1, 0), "seed"), ((0, -1), "epoch"), ((0, 1.5), "epoch"), (("x", 0), "seed")]:
        with pytest.raises(ValueError, match="expected") as caught:
            splits[kind].examples(*arguments)
        assert_sentence(caught.value, name)


def shard_of(folder, number=1):
    return folder / f"train-{number:05d}-of-00004.tfrecord"


def cut(folder):
    shard_of(folder).write_bytes(shard_of(folder).read_bytes()[:-1])
    return shard_of(folder)


def lose(folder):
    shard_of(folder).unlink()
    return shard_of(folder)


def add(folder):
    return shutil.copy(shard_of(folder), folder / "train-00004-of-00004.tfrecord")


@pytest.mark.parametrize("damage", [cut, lose, add])
def test_shards_are_counted_when_they_are_opened(folder, damage):
    bad = damage(folder)
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        data.open_data(folder)
    assert_sentence(caught.value, "data")
    assert str(bad) in str(caught.value)


def flip(folder, place):
    content = bytearray(shard_of(folder).read_bytes())
    content[place] ^= 1
    shard_of(folder).write_bytes(content)


def swap(folder):
    one, other = shard_of(folder, 1), shard_of(folder, 3)  # of as many images, and bytes
    held = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(held)


def rewrite(folder, records):
    """Put other records into a shard, with right checksums, and its new size into the index."""
    path = shard_of(folder)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    index = json.loads((folder / RECORDS_INDEX).read_text())
    index["splits"]["train"]["shards"][1]["bytes"] = path.stat().st_size
    (folder / RECORDS_INDEX).write_text(json.dumps(index))


def an_example(**features):
    kinds = {bytes: ("bytes_list", tf.train.BytesList), int: ("int64_list", tf.train.Int64List)}
    made = {}
    for name, value in features.items():
        field, kind = kinds[type(value)]
        made[f"image/{name}"] = tf.train.Feature(**{field: kind(value=[value])})
    return tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString()


DAMAGE = {
    "a length": lambda folder: flip(folder, 3),
    "the checksum of a length": lambda folder: flip(folder, 9),
    "a record": lambda folder: flip(folder, 60),
    "the last checksum": lambda folder: flip(folder, -1),
    "two shards swapped": swap,
    "records of other content": lambda folder: rewrite(folder, [b"junk"] * 13),
    "no labels": lambda folder: rewrite(folder, [an_example(encoded=bytes(64))] * 13),
    "too few bytes": lambda folder: rewrite(folder, [an_example(**{"encoded": bytes(63), "class/label": 0})] * 13),
    "other images": lambda folder: rewrite(folder, [an_example(**{"encoded": bytes(64), "class/label": 0})] * 13),
    "too few images": lambda folder: rewrite(folder, [an_example(**{"encoded": bytes(64), "class/label": 0})] * 5),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_inside_a_shard_is_found_by_check(folder, tmp_path, damage):
    damage(folder)
    found = data.open_data(folder)
    for read in (found.train.check, found.identity, lambda: data.write_records(found, tmp_path / "again")):
        with pytest.raises(ValueError, match="expected") as caught:
            read()
        assert_sentence(caught.value, "data")
        assert str(shard_of(folder)) in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["copy"]  # noqa: PTH208
    found.test.check()
    found.train.take(0, 12).check()


def test_rewriting_records_checks_the_last_shard(folder, tmp_path):
    swapped = [folder / f"test-{i:05d}-of-00004.tfrecord" for i in (2, 3)]
    contents = [path.read_bytes() for path in swapped]
    for path, content in zip(swapped, reversed(contents), strict=True):
        path.write_bytes(content)
    found = data.open_data(folder)
    with pytest.raises(ValueError, match=r"expected the images that records.json describes"):
        data.write_records(replace(found, test=found.test.take(found.test.size - 2)), tmp_path / "again")


def test_undecodable_image_in_a_record_is_named(pictures, tmp_path):
    folder = data.write_records(data.image_folder(pictures, 8), tmp_path / "r", shards=1)
    path = folder / "train-00000-of-00001.tfrecord"
    record = an_example(**{"encoded": b"junk", "class/label": 0})
    count = data.open_records(folder).train.size
    with tf.io.TFRecordWriter(str(path)) as writer:
        for _ in range(count):
            writer.write(record)
    index = json.loads((folder / RECORDS_INDEX).read_text())
    index["splits"]["train"]["shards"][0]["bytes"] = path.stat().st_size
    (folder / RECORDS_INDEX).write_text(json.dumps(index))
    with pytest.raises(ValueError, match="damaged in record 0") as caught:
        data.open_records(folder).train.check()
    assert_sentence(caught.value, "data")


WRONG_INDEX = {
    "without version": lambda index: index.pop("version"),
    "version=2": lambda index: index.update(version=2),
    "without name": lambda index: index.pop("name"),
    "name=3": lambda index: index.update(name=3),
    "image_shape=[8, 8]": lambda index: index.update(image_shape=[8, 8]),
    "image_shape=[8, 8, 0]": lambda index: index.update(image_shape=[8, 8, 0]),
    "image_shape=3": lambda index: index.update(image_shape=3),
    "class_names=['a', 1, 'c']": lambda index: index.update(class_names=["a", 1, "c"]),
    "other=1": lambda index: index.update(other=1),
    "without splits": lambda index: index.pop("splits"),
    "splits=[]": lambda index: index.update(splits=[]),
    "without a test split": lambda index: index["splits"].pop("test"),
    "split without encoding": lambda index: index["splits"]["train"].pop("encoding"),
    "split encoding='jpeg2000'": lambda index: index["splits"]["train"].update(encoding="jpeg2000"),
    "split encoding=['file']": lambda index: index["splits"]["train"].update(encoding=["file"]),
    "split largest_label='2'": lambda index: index["splits"]["train"].update(largest_label="2"),
    "split shards=3": lambda index: index["splits"]["train"].update(shards=3),
    "shard without sha256": lambda index: index["splits"]["train"]["shards"][0].pop("sha256"),
    "shard images=0": lambda index: index["splits"]["train"]["shards"][0].update(images=0),
    "shard images=True": lambda index: index["splits"]["train"]["shards"][0].update(images=True),
    "shard sha256=None": lambda index: index["splits"]["train"]["shards"][0].update(sha256=None),
    "shard file='../x.tfrecord'": lambda index: index["splits"]["train"]["shards"][0].update(file="../x.tfrecord"),
    "shard file='records.json'": lambda index: index["splits"]["train"]["shards"][0].update(file="records.json"),
}


@pytest.mark.parametrize("change", WRONG_INDEX.values(), ids=WRONG_INDEX)
def test_index_of_another_structure_is_refused(folder, change):
    path = folder / RECORDS_INDEX
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"records\.json") as caught:
        data.open_data(folder)
    assert_sentence(caught.value, "data")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"3", b"\xff"])
def test_unreadable_index_is_refused(folder, content):
    (folder / RECORDS_INDEX).write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged .*records\.json") as caught:
        data.open_data(folder)
    assert_sentence(caught.value, "data")


def test_labels_of_other_classes_are_refused(folder):
    path = folder / RECORDS_INDEX
    index = json.loads(path.read_text())
    path.write_text(json.dumps({**index, "class_names": ["a", "b"]}))
    with pytest.raises(ValueError, match="expected labels of 2 classes, got 2") as caught:
        data.open_data(folder)
    assert_sentence(caught.value, "train")


def test_open_records_refuses_wrong_arguments(written, pictures, tmp_path):
    with pytest.raises(TypeError) as caught:
        data.open_records(None)
    assert_sentence(caught.value, "data")
    with pytest.raises(ValueError, match="expected") as caught:
        data.open_data(written, (8,))
    assert_sentence(caught.value, "image_shape")
    with pytest.raises(ValueError, match="expected") as caught:
        data.open_records(written, 8)
    assert_sentence(caught.value, "image_shape")
    files = data.write_records(data.image_folder(pictures, 8), tmp_path / "r", shards=1)
    with pytest.raises(ValueError, match="expected 1 or 3 channels, got 2") as caught:
        data.open_data(files, (8, 8, 2))
    assert_sentence(caught.value, "image_shape")


def test_write_records_refuses_wrong_arguments(arrays, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "file").touch()
    for error, arguments, name in (
        (TypeError, (3, tmp_path / "a"), "data"),
        (TypeError, (arrays, None), "folder"),
        (ValueError, (arrays, tmp_path / "full"), "folder"),
        (ValueError, (arrays, tmp_path / "file"), "folder"),
        (OSError, (arrays, tmp_path / "file" / "a"), "folder"),
        (OSError, (arrays, tmp_path / ("a" * 300)), "folder"),
        (ValueError, (arrays, tmp_path / "a", 0), "shards"),
    ):
        with pytest.raises(error) as caught:
            data.write_records(*arguments)
        assert_sentence(caught.value, name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full"]


def test_interrupted_writing_leaves_no_records(arrays, tmp_path, monkeypatch):
    def full(self, record):
        raise tf.errors.ResourceExhaustedError(None, None, "no space left")

    (tmp_path / ".partial-a").mkdir()  # as a run that was killed leaves it
    (tmp_path / ".partial-a" / "train-00000-of-00009.tfrecord").touch()
    with monkeypatch.context() as context:
        context.setattr(tf.io.TFRecordWriter, "write", full)
        with pytest.raises(OSError, match="no space left") as caught:
            data.write_records(arrays, tmp_path / "a")
    assert_sentence(caught.value, "folder")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    data.open_data(data.write_records(arrays, tmp_path / "a")).train.check()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_command_writes_records(pictures, tmp_path):
    arguments = ["records", "--data", str(pictures), "--out", str(tmp_path / "r"), "--shards", "2", "--size", "8x6"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        f"train: 27 images in 2 shards in {tmp_path / 'r'}",
        f"test: 3 images in 2 shards in {tmp_path / 'r'}",
    ]
    assert data.open_data(tmp_path / "r").image_shape == (8, 6, 3)
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 2
    assert again.stderr.startswith("tfsep: folder: expected one that is empty or does not exist, got ")
    assert again.stderr.count("\n") == 1
