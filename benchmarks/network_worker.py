"""One network of ``zoo`` taken the whole way; see ``networks.py``: ``python network_worker.py NAME ROW.json``."""

import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from zoo import ZOO, Network

from tfsep import tflite
from tfsep.cost import cost
from tfsep.surgery import fold_batch_norm

SAMPLES = 32
CALIBRATION_SAMPLES = 64
STATISTICS_SAMPLES = 128
"""Of data of their own, so that the numbers of a deep network are those of new data, too."""
NOISE = 10
"""Of the noise in the inputs that rounding in every layer adds up to."""
LIMITS = {"float32": 1e-3, "int8": 0.7, "int16x8": 0.3}
"""The RMS, over the deviation of the output, up to which a file of the converter alone is taken for a good one."""


def model_of(network: Network) -> keras.Model:
    """The network, with batch normalizations as training leaves them: statistics of data, scales and shifts."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    model = network.build()
    found = [layer for layer in flat(model) if isinstance(layer, keras.layers.BatchNormalization)]
    drops = [layer for layer in flat(model) if isinstance(layer, keras.layers.Dropout)]
    settings = [(layer, "momentum", layer.momentum) for layer in found] + [
        (layer, "rate", layer.rate) for layer in drops
    ]
    for layer in found:
        for variable, low, high in ((layer.gamma, 0.6, 1.4), (layer.beta, -0.3, 0.3)):
            if variable is not None:
                variable.assign(rng.uniform(low, high, variable.shape))
    for layer, setting, _ in settings:  # statistics of one batch, as inference computes it
        setattr(layer, setting, 0.0)
    if found:
        model(tensors(model, samples(model, network, 0, STATISTICS_SAMPLES)), training=True)
    for layer, setting, value in settings:
        setattr(layer, setting, value)
    return model


def flat(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers, those of layers too."""
    return [layer for layer in model._flatten_layers() if layer is not model]


def samples(model: keras.Model, network: Network, seed: int, count: int = SAMPLES) -> Any:
    """Seeded data of a model's inputs: an array, or a dict or tuple of them, in the model's own structure."""
    rng = np.random.default_rng(seed)

    def draw(tensor: Any) -> np.ndarray:
        shape = (count, *(network.input_shape or tensor.shape[1:]))
        if tensor.dtype == "uint8":
            return rng.integers(0, 256, shape).astype("uint8")
        if tensor.dtype.startswith("int"):
            return rng.integers(0, network.classes, shape).astype(tensor.dtype)
        return rng.uniform(*network.values, shape).astype(tensor.dtype)  # bounded, as images are: ranges hold

    if not hasattr(model, "inputs"):  # of a class of its own
        inputs = keras.Input(network.input_shape)
    else:
        inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    drawn = tf.nest.map_structure(draw, inputs)
    return tuple(drawn) if isinstance(drawn, list) else drawn


def own_batch(model: keras.Model) -> int | None:
    """The batch that a model has of its own; None for any."""
    return model.inputs[0].shape[0] if hasattr(model, "inputs") else None


def tensors(model: keras.Model, data: Any) -> Any:
    """Data as the model takes them, in its own batch where it has one."""
    batch = own_batch(model)
    arrays = tf.nest.map_structure(lambda array: tf.constant(array[:batch] if batch else array), data)
    return list(arrays) if isinstance(arrays, tuple) else arrays


def predict(model: keras.Model, data: Any) -> list[np.ndarray]:
    """The outputs of inference, flat, one array each."""
    batch = own_batch(model) or SAMPLES
    parts = []
    for start in range(0, SAMPLES, batch):
        part = tf.nest.map_structure(lambda array, at=start: array[at : at + batch], data)
        parts.append([np.asarray(y) for y in tf.nest.flatten(model(tensors(model, part), training=False))])
    return [np.concatenate(each) for each in zip(*parts, strict=True)]


def rms(actual: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """The RMS of the difference of the worst output over that output's deviation."""
    return max(
        float(np.sqrt(np.mean((one.astype("float64") - other) ** 2)) / max(np.std(other.astype("float64")), 1e-12))
        for one, other in zip(actual, expected, strict=True)
    )


def converters_file(model: keras.Model, recipe: str, calibration: Any) -> bytes:
    """What TensorFlow's converter alone makes of the model."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if recipe != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        arrays = dict(zip((tensor.name for tensor in model.inputs), tf.nest.flatten(calibration), strict=True))
        batch = model.inputs[0].shape[0] or 1
        converter.representative_dataset = lambda: (
            {name: array[i : i + batch] for name, array in arrays.items()} for i in range(0, CALIBRATION_SAMPLES, batch)
        )
        ops = tf.lite.OpsSet
        integers = ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [ops.TFLITE_BUILTINS_INT8 if recipe == "int8" else integers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return converter.convert()


def interpreted(content: bytes, model: keras.Model, data: Any) -> list[np.ndarray]:
    """The outputs of a file with float inputs and outputs, a sample after the other, in the model's order."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    batch = model.inputs[0].shape[0] or 1
    details = sorted(interpreter.get_input_details(), key=lambda detail: detail["name"])
    named = sorted(zip((tensor.name for tensor in model.inputs), range(len(model.inputs)), strict=True))
    arrays = [tf.nest.flatten(data)[i] for _, i in named]
    for detail, array in zip(details, arrays, strict=True):
        interpreter.resize_tensor_input(detail["index"], (batch, *array.shape[1:]))
    interpreter.allocate_tensors()
    signature = interpreter.get_output_details()
    results: list[list[np.ndarray]] = [[] for _ in signature]
    for start in range(0, SAMPLES, batch):
        for detail, array in zip(details, arrays, strict=True):
            interpreter.set_tensor(detail["index"], array[start : start + batch].astype(detail["dtype"]))
        interpreter.invoke()
        for result, detail in zip(results, signature, strict=True):
            result.append(interpreter.get_tensor(detail["index"]))
        interpreter.reset_all_variables()
    found = {detail["name"]: np.concatenate(result) for detail, result in zip(signature, results, strict=True)}
    return [found[name] for name in sorted(found, key=lambda name: int(name.rsplit(":", 1)[-1]))]


def sentence(error: BaseException) -> str:
    """The message of an error on one line, cut where it is long."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"


class Run:
    """A network on its way, and its row."""

    def __init__(self, network: Network, row_path: Path) -> None:
        self.network, self.row_path = network, row_path
        self.faults: list[str] = []
        self.notes: list[str] = []
        self.row: dict[str, Any] = {"network": network.name, "faults": self.faults, "notes": self.notes}
        self.model = model_of(network)
        self.calibration = samples(self.model, network, 1, CALIBRATION_SAMPLES)
        self.data = samples(self.model, network, 2)
        self.expected = predict(self.model, self.data)
        self.folder = Path(tempfile.mkdtemp())
        self.options = {"input_shape": network.input_shape} if network.input_shape else {}

    def step(self, name: str, work: Callable[[], None]) -> None:
        """Do one thing; an error is a fault. What is there is written after each."""
        try:
            work()
        except Exception as error:
            self.faults.append(f"{name}: {sentence(error)}")
        self.row_path.write_text(json.dumps(self.row, indent=1))

    def count(self) -> None:
        """Parameters against Keras's count."""
        size = {"input_shape": self.network.input_shape} if self.network.input_shape else {}
        report = cost(self.model, **size)
        self.row |= {"params": f"{report.params:,}", "MACs": f"{report.macs:,}", "not counted": len(report.uncounted)}
        if report.params != self.model.count_params():
            self.faults.append(f"cost: {report.params:,} parameters, of {self.model.count_params():,}")
        if report.uncounted:
            self.notes.append(f"cost does not count {', '.join(report.uncounted[:4])}")
        self.counted = report

    def count_file(self) -> None:
        """MACs of the model against those of its float file."""
        report = cost(self.folder / "float32.tflite")
        if report.uncounted or self.counted.uncounted:
            self.notes.append(f"not counted in the file: {', '.join(report.uncounted[:4]) or 'nothing'}")
        elif abs(report.macs + self.network.other_macs - self.counted.macs) > 0.01 * self.counted.macs:
            self.faults.append(f"cost: {self.counted.macs:,} MACs of the model, {report.macs:,} of its file")

    def fold(self) -> None:
        """The folded model's results against the model's."""
        before = sum(isinstance(layer, keras.layers.BatchNormalization) for layer in flat(self.model))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            folded = fold_batch_norm(self.model)
        left = sum(isinstance(layer, keras.layers.BatchNormalization) for layer in flat(folded))
        self.row |= {"folded": before - left, "left": left}
        error = rms(predict(folded, self.data), self.expected)
        if not error <= max(1e-5, NOISE * self.noise()):
            self.faults.append(f"fold_batch_norm: RMS {error:.2g}, and {self.noise():.2g} of inputs a last place off")

    def noise(self) -> float:
        """What a last place of float32 in the inputs becomes in the outputs."""
        off = tf.nest.map_structure(
            lambda array: array * np.float32(1 + 2**-22) if array.dtype == "float32" else array, self.data
        )
        return rms(predict(self.model, off), self.expected)

    def export(self, recipe: str) -> None:
        """A verified file, or else a file of the converter that is no good either; in int8, the folder for devices."""
        calibration = None if recipe == "float32" else self.calibration
        given = {"data": self.data, **self.options}
        path = self.folder / f"{recipe}.tflite"
        try:
            if recipe == "int8":
                report = self.convert(given)
            else:
                report = tflite.export(self.model, path, recipe, calibration, **given)
        except Exception as error:
            self.row[recipe] = "refused"
            self.refused(recipe, error)
            return
        if recipe in self.network.refused:
            self.faults.append(f"{recipe}: kept, where it has to be refused")
        verification = report.verification
        error = None if verification is None else verification.rms_error
        self.row[f"{recipe} kB"] = f"{report.size_bytes / 1000:.0f}"
        if verification is not None:
            self.row |= {f"{recipe} RMS": f"{error:.2g}", f"{recipe} channel": f"{verification.channels.error:.2g}"}
        self.row[recipe] = verdict(verification)
        if self.row[recipe] == "lossy":
            self.notes += [f"{recipe}: {note}" for note in verification.notes()]
        if recipe != "int16x8":
            self.compare(recipe, error)

    def convert(self, given: dict[str, Any]) -> tflite.ExportReport:
        """The export within a conversion; where the conversion fails, the export by itself."""
        try:
            report = tflite.convert(self.model, self.folder / "device", "int8", self.calibration, **given)
        except Exception as failure:
            self.row["convert"] = "refused"
            report = tflite.export(self.model, self.folder / "int8.tflite", "int8", self.calibration, **given)
            self.faults.append(f"convert: {sentence(failure)}, where export writes the file")
            return report
        self.row["convert"] = f"{len(report.files)} files"
        return report.export

    def compare(self, recipe: str, error: float | None) -> None:
        """Our file's error against that of the converter's own."""
        plain = self.plain_rms(recipe, f"{recipe}: the converter alone fails")
        if plain is None:
            return
        if recipe == "int8":
            self.row["converter's RMS"] = f"{plain:.2g}"
        if error is not None and error > max(1.5 * plain, LIMITS[recipe] / 10):
            self.faults.append(f"{recipe}: RMS {error:.2g} where the converter's own file has {plain:.2g}")

    def refused(self, recipe: str, error: Exception) -> None:
        """A refusal is a fault where the converter's own file is good."""
        text = f"{recipe} refused: {sentence(error)}"
        plain = self.plain_rms(recipe, f"{text}; the converter alone")
        if plain is None:
            return
        is_fault = plain <= LIMITS[recipe] and recipe not in self.network.refused
        (self.faults if is_fault else self.notes).append(f"{text}; the converter's own file has RMS {plain:.2g}")

    def plain_rms(self, recipe: str, remark: str) -> float | None:
        """The error of the converter's own file; None, with a note that begins with the remark, where it fails."""
        try:
            content = converters_file(self.model, recipe, self.calibration)
            return rms(interpreted(content, self.model, self.data), self.expected)
        except Exception as failure:
            self.notes.append(f"{remark}: {sentence(failure)[:160]}")
            return None


def verdict(verification: tflite.VerifyReport | None) -> str:
    """What the verification says of a file that is kept, in a word."""
    if verification is None:
        return "not run"
    if verification.max_error == 0:
        return "exact"
    return "lossy" if verification.lossy else "faithful"


def main() -> None:
    """Run one network."""
    network, row_path = ZOO[sys.argv[1]], Path(sys.argv[2])
    run = Run(network, row_path)
    run.step("cost", run.count)
    run.step("fold_batch_norm", run.fold)
    run.step("export", lambda: run.export("float32"))
    if (run.folder / "float32.tflite").is_file():
        run.step("cost of the file", run.count_file)
    run.step("export", lambda: run.export("int8"))
    run.step("export", lambda: run.export("int16x8"))


if __name__ == "__main__":
    main()
