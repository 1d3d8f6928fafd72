"""A network of the family through all that is done with one; see ``family.py``: ``family_worker.py NAME ROW.json``."""

import sys
from pathlib import Path

import keras
import numpy as np
import quantize_worker
import tensorflow as tf
from network_worker import SAMPLES, predict, rms
from zoo import FAMILY

from tfsep import tflite

REPLICAS = 2
TARGETS = ("xnnpack", "edgetpu", "gpu")
ROUNDING = 1e-5
"""The RMS, over the deviation of the output, that a stored and loaded model may be off by: nothing but rounding."""


class Run(quantize_worker.Run):
    """A network on its way, and its row."""

    def targets(self) -> None:
        """What does not run as intended on targets, by the int8 file."""
        for name, report in tflite.check_targets(self.folder / "xnnpack.tflite", TARGETS).to_dict().items():
            self.row[name] = "whole" if report["passed"] else f"{report['taken']} of {report['nodes']}"
            left = sorted({finding["operator"] for finding in report["findings"]})
            if left:
                self.notes.append(f"{name} leaves {', '.join(left)}")

    def store(self) -> None:
        """The model through a ``.keras`` file."""
        self.model.save(self.folder / "model.keras")
        loaded = keras.saving.load_model(self.folder / "model.keras")
        self.check(".keras", rms(predict(loaded, self.data), self.expected) <= ROUNDING)

    def train(self) -> None:
        """A step of ``fit``, on one replica and on two: every kernel changes, and all weights stay finite.

        The shift of a normalization has no gradient where another normalization is behind it. A class number has none.
        """
        if any(tensor.dtype.startswith("int") for tensor in self.model.outputs):
            return
        for name, strategy in (
            ("fit", tf.distribute.get_strategy()),
            ("distributed", tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(REPLICAS)])),
        ):
            with strategy.scope():
                model = keras.models.clone_model(self.model)
                model.set_weights(self.model.get_weights())
                model.compile("sgd", "mse")
            ones = keras.tree.map_structure(
                lambda output: np.ones((SAMPLES, *output.shape[1:]), "float32"), model.output
            )
            kernels = [variable for variable in model.trainable_variables if "kernel" in variable.name]
            before = [kernel.numpy() for kernel in kernels]
            model.fit(self.data, ones, batch_size=SAMPLES, verbose=0)
            moved = [(kernel.numpy() != old).any() for kernel, old in zip(kernels, before, strict=True)]
            self.check(name, all(moved) and all(np.isfinite(weight).all() for weight in model.get_weights()))

    def check(self, name: str, passed: bool) -> None:
        """Note what came of a check."""
        self.row[name] = "yes" if passed else "no"
        if not passed:
            self.faults.append(name)


def main() -> None:
    """Run one network."""
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * REPLICAS
    )
    run = Run(FAMILY[sys.argv[1]], Path(sys.argv[2]))
    run.step("fold", run.fold)
    run.step(".keras", run.store)
    run.step("fit", run.train)
    run.step("prepare", run.default)
    run.step("reference", run.reference)
    run.step("targets", run.targets)


if __name__ == "__main__":
    main()
