"""How a run computes: chosen by the device, resumed to the bit, and refused in a sentence where it cannot compute."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
import worker
from checks import assert_close, assert_sentence, in_part
from stripes import NETWORK, stripes_data
from typer.testing import CliRunner

from tfsep import layers
from tfsep._keras.dtype_policy import dtype_policy
from tfsep._utils.messages import messages_to
from tfsep.cli import app
from tfsep.train import FitConfig, TrainConfig, _computation, _epoch_records, _run, _trainer, join
from tfsep.train._batches import BatchPreparation, epoch_batches
from tfsep.train._computation import choose
from tfsep.train._model_setup import build_optimizer, with_softmax
from tfsep.train._run import TrainingJob, run_training
from tfsep.train._trainer import Trainer

TINY = replace(worker.CONFIG, epochs=2, warmup_epochs=0, validation=200, shift=0, patience=0)


@pytest.fixture(scope="module")
def data():
    return stripes_data()


def network(precision="float32", dropout=0.1):
    keras.utils.set_random_seed(0)
    with dtype_policy(precision):
        inputs = keras.Input((28, 28, 1))
        net = layers.BatchNormalization(momentum=0.5)(inputs)
        net = keras.layers.Dropout(dropout)(keras.layers.Flatten()(net))
        return keras.Model(inputs, keras.layers.Dense(2)(net))


def job():
    evaluated = network()
    return TrainingJob(network, evaluated, with_softmax(evaluated))


@pytest.mark.parametrize(
    ("xla", "precision", "augmentation"), in_part([("on", "float32", "device"), ("off", "mixed_float16", "host")], 2)
)
def test_resumed_run_reaches_identical_weights_and_counts(xla, precision, augmentation, data, tmp_path, monkeypatch):
    """With the scale of the loss, and the batch that fitted when the run began."""
    monkeypatch.setattr(_computation, "_choose_precision", lambda setting, device: (precision, "for the test"))
    monkeypatch.setattr(_epoch_records, "_LONG_WAIT", 0.0)
    monkeypatch.setattr(_epoch_records, "_LONG_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(Trainer, "rehearse", fitting(10))
    config = replace(TINY, xla=xla, augmentation=augmentation, batch_size="auto")
    whole, cut, real, lines = tmp_path / "whole", tmp_path / "cut", _run._write_epoch, []
    monkeypatch.setattr(_computation, "_STEPS", 1)

    def write_epoch(directory, records, *more):
        real(directory, records, *more)
        if len(records) == 1:
            shutil.copytree(whole, cut)

    monkeypatch.setattr(_run, "_write_epoch", write_epoch)
    with messages_to(lines.append):
        expected = run_training(job(), config, data, whole, False)
    assert lines[0].endswith("batch_size 8 (16 does not fit in the CPU's memory)")
    assert [line.split(";")[0].split("% ")[-1] for line in lines[3:-1]] == ["of the epoch waited for images"]
    monkeypatch.setattr(Trainer, "rehearse", fitting(100))
    resumed = run_training(job(), config, data, cut, True)
    for ours, theirs in zip(resumed.model.get_weights(), expected.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with np.load(cut / "checkpoint.npz") as ours, np.load(whole / "checkpoint.npz") as theirs:
        for name in theirs.files:
            np.testing.assert_array_equal(ours[name], theirs[name])
    record = json.loads((cut / "computation.json").read_text())
    chosen = [record[name] for name in ("xla", "augmentation", "precision", "batch_size")]
    assert chosen == [xla == "on", augmentation, precision, 8]
    assert json.loads((cut / "config.json").read_text())["batch_size"] == "auto"


NO_MEMORY = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor\n\t of some shape")


def fitting(most, error=NO_MEMORY):
    """`Trainer.rehearse` where the memory suffices for so many images."""

    def rehearse(self, batches):
        if batches.element_spec[0].shape[0] > most:
            raise error

    return rehearse


COUNTED = {"seed_generator_state", "step_counter", "dynamic_scale"}
"""Variables that a skipped step moves, beside its two counters: dropout goes on, and a scale is halved."""


def trainer_of(precision="float32", xla=False):
    # Without dropout, whose masks XLA and other precisions draw otherwise.
    return Trainer(network(precision, 0.0), build_optimizer(TINY, 10, precision), TINY, xla=xla)


def batch(seed, value=None):
    rng = np.random.default_rng(seed)
    images, labels = rng.normal(size=(16, 28, 28, 1)).astype("float32"), rng.dirichlet([1, 1], 16).astype("float32")
    if value is not None:
        images[3, 4, 8] = value
    return tf.constant(images), tf.constant(labels)


def values_of(trainer):
    """The values of a trainer's variables, but of those that a skipped step moves."""
    kept = [variable for variable in trainer.state[:-2] if variable.name not in COUNTED]
    return [np.array(np.asarray(variable)) for variable in kept]


@pytest.fixture(scope="module")
def uncompiled():
    """The weights after a step in float32 without XLA."""
    trainer = trainer_of()
    trainer.epoch([batch(1)])
    return trainer.model.get_weights()


@pytest.mark.parametrize(
    ("precision", "xla"), [("float32", False), ("float32", True), ("mixed_bfloat16", False), ("mixed_float16", True)]
)
def test_step_that_is_not_finite_is_skipped_and_counted(precision, xla, uncompiled, monkeypatch):
    """Infinite, not a number, and finite where the statistics' squares are not."""
    trainer = trainer_of(precision, xla)
    began = [np.array(np.asarray(variable)) for variable in trainer.state]
    trainer.rehearse(tf.data.Dataset.from_tensors(batch(1)))
    for variable, before in zip(trainer.state, began, strict=True):
        np.testing.assert_array_equal(np.asarray(variable), before)
    trainer.epoch([batch(1)])
    for value, plain in zip(trainer.model.get_weights(), uncompiled, strict=True):
        assert_close(value, plain, 1e-5 if precision == "float32" else 2e-2)
    weights, bad = values_of(trainer), [batch(2, value) for value in (np.inf, np.nan, -1e20)]
    with pytest.raises(ValueError, match="got none in all 3 steps of an epoch") as caught:
        trainer.epoch(bad)
    assert_sentence(caught.value, "learning_rate")
    assert trainer.steps == 4
    for now, before in zip(values_of(trainer), weights, strict=True):
        np.testing.assert_array_equal(now, before)
    if precision == "mixed_float16":
        assert float(trainer.optimizer.dynamic_scale) == 2.0**12
    measured = trainer.epoch([bad[0], batch(3)])
    assert (measured.skipped, trainer.steps) == (1, 6)
    assert np.isfinite(measured.loss)
    assert 0 < measured.data_wait < 1
    assert not np.array_equal(values_of(trainer)[0], weights[0])
    assert all(np.isfinite(value).all() for value in values_of(trainer))
    monkeypatch.setattr(_trainer, "MOST_SKIPPED", 3)
    with pytest.raises(ValueError, match="got none in 3 steps in a row"):
        trainer.epoch([*bad[:2], batch(1), *bad, batch(1)])
    assert trainer.steps == 12


def softmax_regression():
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])


class NotUnscaled(keras.optimizers.LossScaleOptimizer):
    """A wrong one, which takes the gradients of a scaled loss for those of the loss."""

    def apply(self, grads, trainable_variables=None):
        self.inner_optimizer.apply(grads, trainable_variables)


def test_scaling_by_powers_of_two_changes_no_update():
    """In float32 it is exact; what does not unscale is found."""

    def weights_after(wrap):
        optimizer = wrap(keras.optimizers.SGD(0.5, momentum=0.9))
        trainer = Trainer(softmax_regression(), optimizer, replace(TINY, accumulate=2))
        trainer.epoch([batch(1), batch(2), batch(3)])
        return trainer.model.get_weights()

    plain = weights_after(lambda inner: inner)
    scaled = weights_after(lambda inner: keras.optimizers.LossScaleOptimizer(inner, 2.0**11, 2))
    for ours, theirs in zip(scaled, plain, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(weights_after(NotUnscaled)[0], plain[0])


def test_share_of_the_time_that_waits_for_data(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(_trainer.time, "perf_counter", lambda: now[0])

    def slow():
        for item in range(4):
            now[0] += 3.0
            yield item

    clock = _trainer._Clock()
    for _ in clock.timed(slow()):
        now[0] += 1.0
    assert clock.share == 0.75


@pytest.mark.parametrize(
    ("waits", "says"),
    [([0.9], False), ([0.9, 0.25], True), ([0.1, 0.1, 0.3], True), ([0.1, 0.3, 0.3], False), ([0.1, 0.3, 0.1], False)],
)
def test_long_waits_are_said_once_and_not_of_the_first_epoch(waits, says):
    assert _epoch_records.waits_long([{"data_wait": wait, "seconds": 100.0} for wait in waits]) == says
    assert not _epoch_records.waits_long([{"data_wait": wait, "seconds": 5.0} for wait in waits])


AUGMENTED = replace(TINY, batch_size=8, mixup=0.4, shift=2, erase=1.0, flip=True, average=0.9)


def weights_after_an_epoch(split, config, xla, within=None):
    """The weights that training reaches on a split, whose batches the step prepares if it is told how."""
    trainer = Trainer(network(dropout=0.0), build_optimizer(config, 3, "float32"), config, xla=xla, preparation=within)
    trainer.epoch(
        epoch_batches(split, config, BatchPreparation(config, split.preprocessing, 2), 0, prepared=within is None)
    )
    return trainer.model.get_weights()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_steps_augment_as_the_input_pipeline_does(accumulate, data):
    config = replace(AUGMENTED, accumulate=accumulate)
    split = data.train.take(0, 24)
    within = BatchPreparation(config, split.preprocessing, 2)
    expected = weights_after_an_epoch(split, config, False)
    for xla in (False, True):
        for ours, theirs in zip(weights_after_an_epoch(split, config, xla, within), expected, strict=True):
            assert_close(ours, theirs, 1e-5)
    other = within._replace(config=replace(config, mixup=0.0))
    with pytest.raises(AssertionError):
        assert_close(weights_after_an_epoch(split, config, False, other)[-2], expected[-2], 1e-5)


def test_place_of_the_augmentation(monkeypatch):
    def place(setting="auto", xla="auto", replicas=1):
        strategy = Replicas(num_replicas_in_sync=replicas)
        return choose(FitConfig(xla=xla, augmentation=setting), network(), strategy, 1000).augmentation

    monkeypatch.setattr(_computation, "_device_of", lambda strategy: "GPU")
    assert [place(), place(xla="off"), place("host"), place("device", "off"), place(replicas=2)] == [
        "device",
        "host",
        "host",
        "device",
        "host",
    ]
    monkeypatch.setattr(_computation, "_device_of", lambda strategy: "CPU")
    assert [place(), place(xla="on"), place("device")] == ["host", "host", "device"]
    with pytest.raises(ValueError, match="expected host for 2 devices, got device") as caught:
        place("device", replicas=2)
    assert_sentence(caught.value, "augmentation")
    with pytest.raises(ValueError, match="augmentation: expected one of auto, host, device, got 'gpu'"):
        FitConfig(augmentation="gpu")


def test_device_that_is_asked_for(monkeypatch):
    with join("one", device="cpu") as devices:
        assert choose(FitConfig(), network(), devices.strategy, 1000).device == "CPU"
    for arguments, message in (
        ({"device": "gpu"}, "device: expected a GPU that TensorFlow can use, got none on this machine"),
        ({"device": "gpu", "strategy": "mirrored"}, "device: expected a GPU that TensorFlow can use"),
        ({"device": "gpu", "strategy": "multi-worker"}, "device: expected a GPU that TensorFlow can use"),
        ({"device": "tpu"}, "device: expected one of auto, cpu, gpu, got 'tpu'"),
    ):
        with pytest.raises(ValueError, match=message) as caught, join(**arguments):
            pass
        assert_sentence(caught.value, "device")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [Gpu()] if kind == "GPU" else [])
    with pytest.raises(ValueError, match="expected auto or gpu for multi-worker"), join("multi-worker", device="cpu"):
        pass
    with join("mirrored", device="cpu") as devices:
        assert choose(FitConfig(), network(), devices.strategy, 1000).device == "CPU"


class Gpu(SimpleNamespace):
    """A GPU as TensorFlow lists it."""


@pytest.mark.parametrize(
    ("capabilities", "precision", "reason"),
    [
        ([(9, 0)], "mixed_bfloat16", "compute capability 9.0 has products in bfloat16, which needs no scaled loss"),
        ([(7, 5)], "mixed_float16", "compute capability 7.5 has products in float16, none in bfloat16"),
        ([(8, 6), (7, 0)], "mixed_float16", "compute capability 7.0 has products in float16, none in bfloat16"),
        ([(6, 1)], "float32", "compute capability 6.1 has no fast products in 16 bits"),
        ([None], "float32", "not known to have fast products in 16 bits"),
    ],
)
def test_choice_on_a_gpu(capabilities, precision, reason, monkeypatch):
    gpus = [Gpu(compute_capability=each) for each in capabilities]
    monkeypatch.setattr(_computation, "_device_of", lambda strategy: "GPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus if kind == "GPU" else [])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", vars)
    chosen = choose(TrainConfig(precision="auto"), network(), tf.distribute.get_strategy(), 1000)
    assert (chosen.precision, chosen.reasons["precision"]) == (precision, reason)
    assert (chosen.xla, chosen.reasons["xla"]) == (True, "the step is on a GPU")
    assert not choose(TrainConfig(xla="off"), network(), tf.distribute.get_strategy(), 1000).xla
    uncompiled = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="odd")])
    uncompiled.layers[0].supports_jit = False
    assert (
        choose(TrainConfig(), uncompiled, tf.distribute.get_strategy(), 1000).reasons["xla"] == "odd cannot be compiled"
    )


@pytest.mark.parametrize(
    ("flags", "precision"),
    [("flags\t: fpu avx512f avx512_bf16", "mixed_bfloat16"), ("Features : fp bf16", "mixed_bfloat16"),
     ("flags : fpu avx512f", "float32"), ("", "float32")],
)  # fmt: skip
def test_choice_on_a_cpu(flags, precision, monkeypatch, tmp_path):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\n{flags}\n")
    monkeypatch.setattr(_computation, "_CPU_INFO", tmp_path / "cpuinfo")
    chosen = choose(TrainConfig(precision="auto"), network(), tf.distribute.get_strategy(), 1000)
    assert (chosen.precision, chosen.xla) == (precision, False)


class Replicas(SimpleNamespace):
    """A strategy by its number of replicas."""


def test_choice_of_a_batch():
    def first(images, replicas=1, accumulate=1):
        return _computation._choose_batch(FitConfig(batch_size="auto", accumulate=accumulate), replicas, images)[0]

    assert [first(n) for n in (55_000, 1280, 1279, 540, 180, 38, 8, 7, 3)] == [128, 128, 64, 32, 16, 8, 8, 4, 2]
    assert [first(2000, 3), first(2000, 3, 2), first(2000, 1, 200)] == [96, 96, 200]
    with pytest.raises(ValueError, match="batch_size: expected at most the 100 training images, got 200"):
        first(100, 1, 200)


def test_statistics_exchanged_within_a_step_are_not_compiled(monkeypatch):
    synchronized = keras.Sequential([keras.Input((4, 4, 1)), layers.BatchNormalization(synchronized=True)])
    monkeypatch.setattr(_computation, "_device_of", lambda strategy: "GPU")
    two = Replicas(num_replicas_in_sync=2)
    with pytest.raises(ValueError, match="expected off where normalizations exchange") as caught:
        choose(FitConfig(xla="on"), synchronized, two, 1000)
    assert_sentence(caught.value, "xla")
    assert not choose(FitConfig(), synchronized, two, 1000).xla
    assert choose(FitConfig(), network(), two, 1000).xla


@pytest.mark.parametrize(("size", "most"), [("32", 10), ("auto", 0)])
def test_command_says_that_memory_does_not_suffice(size, most, tmp_path, monkeypatch, data):
    monkeypatch.setattr(Trainer, "rehearse", fitting(most))
    monkeypatch.setattr(_computation, "_FIRST_BATCH", 2)
    said = command_fails(data, tmp_path, monkeypatch, "--set", f"batch_size={size}")
    assert_sentence(said, "batch_size")
    assert "fits in the CPU's memory, got" in said


@pytest.mark.parametrize(
    ("kind", "text", "memory"),
    [
        ("ResourceExhausted", "OOM when allocating tensor", True),
        ("Internal", "Autotuning failed for HLO: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 5", True),
        ("NotFound", "No algorithm worked! CUDNN_STATUS_ALLOC_FAILED", True),
        ("Internal", "CUDA_ERROR_OUT_OF_MEMORY", True),
        ("Internal", "Failed to allocate memory", True),
        ("Memory", "Unable to allocate 5 GiB", True),
        ("Internal", "CUDNN_STATUS_EXECUTION_FAILED", False),
        ("Unimplemented", "no such kernel", False),
    ],
)
def test_errors_of_memory(kind, text, memory, tmp_path, data, monkeypatch):
    """Whatever their kind, a smaller batch is tried; others are of XLA."""
    error = MemoryError(text) if kind == "Memory" else getattr(tf.errors, f"{kind}Error")(None, None, text)
    monkeypatch.setattr(Trainer, "rehearse", fitting(0, error))
    monkeypatch.setattr(_computation, "_FIRST_BATCH", 2)
    with pytest.raises(ValueError, match=r"fits in the CPU's memory, got 1 images|XLA cannot compile") as caught:
        run_training(job(), replace(TINY, batch_size="auto", xla="on"), data, tmp_path / "run", False)
    assert_sentence(caught.value, "batch_size" if memory else "xla")


def test_command_says_that_no_gpu_is_there(tmp_path, monkeypatch, data):
    said = command_fails(data, tmp_path, monkeypatch, "--device", "gpu")
    assert said == "device: expected a GPU that TensorFlow can use, got none on this machine"


def test_command_says_that_xla_cannot_compile(tmp_path, monkeypatch, data):
    """By the device, which has no compiler, and by an operation, which XLA does not have."""

    def rehearse(self, batches):
        raise tf.errors.UnimplementedError(None, None, "no XLA_ODD_JIT\nsomewhere")

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "rehearse", rehearse)
        said = command_fails(data, tmp_path, patched, "--xla", "on")
    assert said == "xla: expected off where XLA cannot compile the step for this CPU, got on (no XLA_ODD_JIT)"

    def on_the_host(precision):
        inputs = keras.Input((28, 28, 1))
        net = keras.layers.Lambda(lambda x: tf.ensure_shape(tf.numpy_function(np.abs, [x], "float32"), x.shape))(inputs)
        return keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(net)))

    evaluated = on_the_host("float32")
    run = TrainingJob(on_the_host, evaluated, with_softmax(evaluated))
    with pytest.raises(ValueError, match="expected off where XLA cannot compile") as caught:
        run_training(run, replace(TINY, xla="on"), data, tmp_path / "run", False)
    assert_sentence(caught.value, "xla")
    assert not (tmp_path / "run").exists()


def command_fails(data, folder, monkeypatch, *options):
    """The error of `tfsep train`, which leaves nothing."""
    monkeypatch.setattr("tfsep.data.open_data", lambda *given: data)
    arguments = ["train", "--network", NETWORK, "--validation", "16", "--out", str(folder / "run"), *options]
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert not (folder / "run").exists()
    return done.stderr.removeprefix("tfsep: ").rstrip("\n")


def test_memory_that_runs_out_later_leaves_a_run_to_resume(data, tmp_path, monkeypatch):
    def epoch(self, batches, after_step):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    monkeypatch.setattr(Trainer, "epoch", epoch)
    monkeypatch.setattr(Trainer, "rehearse", fitting(16))
    with pytest.raises(ValueError, match="got 16 images; choose a smaller one") as caught:
        run_training(job(), TINY, data, tmp_path / "run", False)
    assert_sentence(caught.value, "batch_size")
    assert (tmp_path / "run" / "checkpoint.npz").is_file()
