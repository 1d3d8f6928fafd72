"""Data sets: IDX files, Fashion-MNIST, folders of images; what is read back is what was written."""

import gzip
import json
import shutil
import struct

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_sentence

from tfsep import data
from tfsep.data._fashion_mnist import FASHION_MNIST_FILES, _package_folders
from tfsep.data._open_data import class_names_of


def write_idx(path, array, zipped=False, kind=8):
    content = struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if zipped else content)


@pytest.fixture
def idx_folder(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {}
    for split, (images, labels) in FASHION_MNIST_FILES.items():
        count = {"train": 12, "test": 5}[split]
        arrays[split] = rng.integers(0, 256, (count, 28, 28), np.uint8), rng.integers(0, 10, count).astype(np.uint8)
        write_idx(tmp_path / images, arrays[split][0])
        write_idx(tmp_path / f"{labels}.gz", arrays[split][1], zipped=True)
    return tmp_path, arrays


@pytest.fixture
def image_folder(tmp_path):
    """Two classes, four images each, every pixel of an image the same grey."""
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for i in range(4):
            pixels = np.full((6, 8, 3), 40 * label + 10 * i, np.uint8)
            tf.io.write_file(str(tmp_path / name / f"{i}.png"), tf.io.encode_png(pixels))
    return tmp_path


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_file_is_read(tmp_path, zipped):
    array = np.random.default_rng(1).integers(0, 256, (3, 4, 5), np.uint8)
    write_idx(tmp_path / "x", array, zipped)
    np.testing.assert_array_equal(data.read_idx(tmp_path / "x"), array)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kept", [0, 1, 5, 11, 20])
def test_truncated_idx_is_refused(tmp_path, zipped, kept):
    write_idx(tmp_path / "x", np.zeros((3, 4), np.uint8), zipped)
    (tmp_path / "x").write_bytes((tmp_path / "x").read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"path: expected"):
        data.read_idx(tmp_path / "x")


def test_idx_of_another_type_is_refused(tmp_path):
    write_idx(tmp_path / "x", np.zeros(3, np.float32), kind=0x0D)
    with pytest.raises(ValueError, match="expected an IDX file of bytes"):
        data.read_idx(tmp_path / "x")


def test_fashion_mnist_from_a_folder(idx_folder):
    folder, arrays = idx_folder
    found = data.fashion_mnist(folder)
    assert found.image_shape == (28, 28, 1)
    assert len(found.class_names) == 10
    for split in ("train", "test"):
        part = getattr(found, split)
        np.testing.assert_array_equal(part.images()[..., 0], arrays[split][0])
        np.testing.assert_array_equal(part.labels, arrays[split][1])


def test_fashion_mnist_missing_file_is_named(idx_folder):
    folder, _ = idx_folder
    (folder / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="t10k-images"):
        data.fashion_mnist(folder)


def test_fashion_mnist_labels_must_match_images(idx_folder):
    folder, _ = idx_folder
    write_idx(folder / "train-labels-idx1-ubyte.gz", np.zeros(11, np.uint8), zipped=True)
    with pytest.raises(ValueError, match="images, labels: expected"):
        data.fashion_mnist(folder)


def test_fashion_mnist_is_complete():
    if not any(folder.is_dir() for folder in _package_folders()):
        pytest.skip("the Debian package dataset-fashion-mnist is not installed")
    found = data.fashion_mnist()
    assert (found.train.size, found.test.size) == (60_000, 10_000)
    np.testing.assert_array_equal(np.bincount(found.test.labels), [1000] * 10)


def test_package_folders_follow_the_xdg_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_DIRS", f"{tmp_path}:/elsewhere")
    assert next(iter(_package_folders())) == tmp_path / "datasets" / "fashion-mnist"


def test_fashion_mnist_is_downloaded_if_not_found(monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    arrays = [(rng.integers(0, 256, (n, 28, 28), np.uint8), rng.integers(0, 10, n).astype(np.uint8)) for n in (6, 3)]
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path))
    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", lambda: tuple(arrays))
    found = data.fashion_mnist()
    np.testing.assert_array_equal(found.train.images()[..., 0], arrays[0][0])
    np.testing.assert_array_equal(found.test.labels, arrays[1][1])


def test_preprocess_spans_minus_one_to_one():
    np.testing.assert_allclose(data.preprocess(np.array([0, 51, 255], np.uint8)), [-1.0, -0.6, 1.0], atol=1e-6)


def test_batches_keep_order_and_count(idx_folder):
    folder, arrays = idx_folder
    batches = list(data.fashion_mnist(folder).train.batches(5))
    assert [len(y) for _, y in batches] == [5, 5, 2]
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), arrays["train"][1])
    np.testing.assert_allclose(
        np.concatenate([x for x, _ in batches])[..., 0], arrays["train"][0] / 127.5 - 1.0, atol=1e-6
    )


def test_image_folder_splits_and_scales(image_folder):
    found = data.image_folder(image_folder, image_size=(3, 4), channels=1, test_share=0.25)
    assert found.class_names == ("cat", "dog")
    assert (found.train.size, found.test.size) == (6, 2)
    for split in (found.train, found.test):
        for i in range(split.size):
            image, label = split.load(i)
            assert image.shape == (3, 4, 1)
            assert (int(np.ptp(image)), int(image[0, 0, 0]) // 40) == (0, int(label))


def test_image_folder_split_is_seeded(image_folder):
    paths = [data.image_folder(image_folder, 4, seed=seed).train.names.numpy().tolist() for seed in (1, 1, 2)]
    assert paths[0] == paths[1] != paths[2]


def test_image_folder_with_its_own_split(image_folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("split")
    (root / "train").symlink_to(image_folder, target_is_directory=True)
    (root / "test").symlink_to(image_folder, target_is_directory=True)
    found = data.image_folder(root, 4)
    assert (found.train.size, found.test.size) == (8, 8)


@pytest.fixture
def split_folder(tmp_path):
    """Three classes, twenty training images each and ten test images, in folders of their own."""
    for split, count in (("train", 20), ("test", 10)):
        for name in ("a", "b", "c"):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = np.full((4, 4, 3), 10 * ord(name) % 256, np.uint8)
                tf.io.write_file(str(tmp_path / split / name / f"{i}.png"), tf.io.encode_png(pixels))
    return tmp_path


def test_image_folder_with_its_own_split_is_shuffled(split_folder):
    """The last training images are held out, and the first ones calibrate: any few must be of all classes."""
    found = data.image_folder(split_folder, 4)
    for labels in (found.train.labels[-20:], found.train.labels[:20], found.test.labels[:10]):
        assert set(labels.numpy()) == {0, 1, 2}
    np.testing.assert_array_equal(np.bincount(found.train.labels), [20] * 3)
    for i, label in enumerate(found.train.labels.numpy()):
        assert f"/train/{'abc'[label]}/".encode() in found.train.path(i).numpy()
    orders = [data.image_folder(split_folder, 4, seed=seed).train.names.numpy().tolist() for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    labels = np.concatenate([y for _, y in data.open_batches(split_folder, (4, 4, 3), "train", 20)])
    assert (len(labels), set(labels)) == (20, {0, 1, 2})


def test_image_folder_requires_the_same_classes_in_both_splits(split_folder):
    (split_folder / "test" / "d").mkdir()
    with pytest.raises(ValueError, match="got d"):
        data.image_folder(split_folder)
    (split_folder / "test" / "d").rmdir()
    for path in (split_folder / "test").rglob("*.png"):
        path.unlink()
    with pytest.raises(ValueError, match="expected test images, got none") as caught:
        data.image_folder(split_folder)
    assert_sentence(caught.value, "folder")


def test_undecodable_image_is_named(image_folder):
    bad = image_folder / "cat" / "1.png"
    good = bad.read_bytes()
    for content in (b"junk", b"", good[:60]):
        bad.write_bytes(content)
        found = data.image_folder(image_folder, 4)
        parts = {"train": found.train, "test": found.test}
        (name,) = (n for n, part in parts.items() if str(bad).encode() in [part.path(i) for i in range(part.size)])
        split = parts[name]
        for read in (
            split.check,
            split.fingerprint,
            split.images,
            found.identity,
            lambda name=name: data.open_batches(image_folder, (4, 4, 3), name),
        ):
            with pytest.raises(ValueError, match="decode") as caught:
                read()
            assert_sentence(caught.value, "data")
            assert str(bad) in str(caught.value)


def test_identity_depends_on_image_contents(image_folder, idx_folder, tmp_path_factory):
    copy = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(image_folder, copy)
    known = data.image_folder(image_folder, 4).identity()
    assert data.image_folder(copy, 4).identity() == known == json.loads(json.dumps(known))
    assert data.image_folder(copy, 5).identity() != known
    (copy / "cat" / "0.png").write_bytes((copy / "dog" / "0.png").read_bytes())
    assert data.image_folder(copy, 4).identity() != known
    images, labels = np.zeros((3, 4, 4, 1), np.uint8), np.array([0, 1, 2])
    prints = {data.Split.of(images + i, labels[::step]).fingerprint() for i in (0, 1) for step in (1, -1)}
    assert len(prints) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 0}, "image_size: expected a positive int"),
        ({"channels": 2}, "channels: expected 1 or 3, got 2"),
        ({"test_share": 1.0}, r"test_share: expected a number in \(0, 1\), got 1.0"),
        ({"test_share": "x"}, r"test_share: expected a number in \(0, 1\), got 'x'"),
        ({"seed": -1}, "seed: expected an int of at least 0, got -1"),
    ],
)
def test_image_folder_refuses_wrong_arguments(image_folder, arguments, message):
    with pytest.raises(ValueError, match=message):
        data.image_folder(image_folder, **arguments)


def test_image_folder_with_an_empty_class(image_folder):
    (image_folder / "bird").mkdir()
    with pytest.raises(ValueError, match="got none of bird"):
        data.image_folder(image_folder)


def test_image_folder_with_one_class(tmp_path):
    (tmp_path / "only").mkdir()
    with pytest.raises(ValueError, match="at least two folders of classes, got 1"):
        data.image_folder(tmp_path)


def test_split_refuses_other_arrays():
    with pytest.raises(TypeError, match="images: expected uint8, got float32"):
        data.Split.of(np.zeros((1, 2, 2, 1), np.float32), np.zeros(1))
    with pytest.raises(ValueError, match="images, labels: expected"):
        data.Split.of(np.zeros((2, 2, 1), np.uint8), np.zeros(2))
    for ragged in ([[1], [2, 3]], [[1]]):
        with pytest.raises(TypeError) as caught:
            data.Split.of(ragged, [1])
        assert_sentence(caught.value, "images")


@pytest.mark.parametrize(
    "labels", [[0.5, 1, 2], ["a", "b", "c"], [True, False, True], [-1, 0, 1], [0, 1, 2**31], [0, [1], 2]]
)
def test_split_refuses_wrong_labels(labels):
    with pytest.raises((TypeError, ValueError)) as caught:
        data.Split.of(np.zeros((3, 2, 2, 1), np.uint8), labels)
    assert_sentence(caught.value, "labels")


def test_split_accepts_any_integer_dtype():
    for labels in ([0, 1, 2], np.arange(3, dtype="uint8"), tf.range(3, dtype="int64")):
        assert data.Split.of(np.zeros((3, 2, 2, 1), np.uint8), labels).labels.numpy().tolist() == [0, 1, 2]


def test_data_set_refuses_inconsistent_splits():
    def split(labels, side=2):
        return data.Split.of(np.zeros((len(labels), side, side, 1), np.uint8), np.array(labels, int))

    for train, test, name in (
        (split([0, 2]), split([0]), "train"),
        (split([0, 1]), split([2]), "test"),
        (split([]), split([0]), "train"),
        (split([0, 1]), split([]), "test"),
        (split([0, 1]), split([0], side=3), "test"),
    ):
        with pytest.raises(ValueError, match="expected") as caught:
            data.ImageData("x", ("a", "b"), train, test)
        assert_sentence(caught.value, name)


@pytest.mark.parametrize(
    ("opened", "argument"),
    [
        (lambda: data.image_folder(None), "folder"),
        (lambda: data.fashion_mnist(3), "folder"),
        (lambda: data.read_idx(None), "path"),
        (lambda: data.open_data(None), "data"),
        (lambda: data.open_batches(None, (2, 2, 1)), "data"),
    ],
    ids=["image_folder", "fashion_mnist", "read_idx", "open_data", "open_batches"],
)
def test_non_paths_are_refused(opened, argument):
    with pytest.raises(TypeError) as caught:
        opened()
    assert_sentence(caught.value, argument)


def test_open_data_distinguishes_idx_from_images(idx_folder, tmp_path_factory):
    assert data.open_data(idx_folder[0]).name == "fashion_mnist"
    with pytest.raises(ValueError, match="at least two folders"):
        data.open_data(tmp_path_factory.mktemp("empty"))


def test_open_batches_of_arrays(tmp_path):
    x, y = np.arange(24.0, dtype="float32").reshape(3, 2, 2, 2), np.array([1, 0, 1])
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "xy.npz", x=x, y=y)
    np.testing.assert_array_equal(data.open_batches(tmp_path / "x.npy", (2, 2, 2), limit=2), x[:2])
    ((images, labels),) = data.open_batches(tmp_path / "xy.npz", (2, 2, 2), limit=2)
    np.testing.assert_array_equal(images, x[:2])
    np.testing.assert_array_equal(labels, y[:2])


def test_open_batches_of_images_without_classes(image_folder):
    """Where a folder holds images and no two folders, or as many classes as no model has, there are no labels."""
    (images,) = data.open_batches(image_folder, (6, 5, 1), "train", classes=3)
    ((same, _),) = data.open_batches(image_folder, (6, 5, 1), "train", classes=2)
    np.testing.assert_array_equal(images, same)
    loose = data.open_batches(image_folder / "cat", (6, 5, 1), limit=3)
    (batch,) = loose
    assert batch.shape == (3, 6, 5, 1)
    assert class_names_of(image_folder / "cat") == ()
    assert class_names_of(image_folder) == ("cat", "dog")


def test_open_arrays(tmp_path):
    arrays = {"a": np.arange(6.0), "b": np.ones((6, 2))}
    np.savez(tmp_path / "x.npz", **arrays)
    np.savez(tmp_path / "xy.npz", **arrays, y=np.arange(6))
    taken = data.open_arrays(tmp_path / "x.npz", ("a", "b"), 4)
    assert {name: array.shape for name, array in taken.items()} == {"a": (4,), "b": (4, 2)}
    _, labels = data.open_arrays(tmp_path / "xy.npz", ("a", "b"))
    np.testing.assert_array_equal(labels, np.arange(6))
    np.savez(tmp_path / "uneven.npz", a=np.ones(6), b=np.ones(5))
    for name, names in (("x.npz", ("a", "c")), ("uneven.npz", ("a", "b")), ("x.npy", ("a",))):
        with pytest.raises(ValueError, match=r"data: expected ") as error:
            data.open_arrays(tmp_path / name, names)
        assert_sentence(error.value, "data")


def test_open_batches_of_a_folder(idx_folder):
    ((images, labels),) = data.open_batches(idx_folder[0], (28, 28, 1), "train", limit=4)
    assert images.shape == (4, 28, 28, 1)
    assert images.dtype == tf.float32
    np.testing.assert_array_equal(labels, idx_folder[1]["train"][1][:4])


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_open_batches_refuses_a_damaged_file(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x93NUMPY rubbish")
    with pytest.raises(ValueError, match="data: expected a whole"):
        data.open_batches(tmp_path / name, (2, 2, 2))


def test_open_batches_requires_an_array_x(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros(3))
    with pytest.raises(ValueError, match=r"expected an array x in .*, got images"):
        data.open_batches(tmp_path / "a.npz", (2, 2, 2))


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": np.float32(3)},
        {"x": np.zeros((3, 2)), "y": np.int64(3)},
        {"x": np.zeros((50, 2)), "y": np.zeros(40, int)},
    ],
)
def test_open_batches_requires_as_many_labels_as_samples(tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    np.save(tmp_path / "a.npy", np.float32(3))
    for name in ("a.npz", "a.npy"):
        with pytest.raises(ValueError, match="expected") as caught:
            data.open_batches(tmp_path / name, (2,), limit=2)
        assert_sentence(caught.value, "data")


def test_open_batches_refuses_wrong_arguments(image_folder):
    for arguments, name in (
        ({"split": "all"}, "split"),
        ({"limit": 0}, "limit"),
        ({"image_shape": (4,)}, "image_shape"),
        ({"image_shape": 4}, "image_shape"),
        ({"image_shape": "443"}, "image_shape"),
        ({"image_shape": (4, 4, 0)}, "image_shape"),
        ({"image_shape": (4.0, 4, 3)}, "image_shape"),
    ):
        functions = [data.open_batches] + ([data.open_data] if name == "image_shape" else [])
        for function in functions:
            with pytest.raises(ValueError, match="expected") as caught:
                function(image_folder, **{"image_shape": (4, 4, 3), **arguments})
            assert_sentence(caught.value, name)
    with pytest.raises(ValueError, match="expected") as caught:
        data.open_data("fashion_mnist", 28)
    assert_sentence(caught.value, "image_shape")


@pytest.mark.parametrize("name", ["none.npy", "none.npz", "none"])
def test_open_batches_refuses_an_empty_source(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="data: expected"):
        data.open_batches(tmp_path / name, (2, 2, 2))
