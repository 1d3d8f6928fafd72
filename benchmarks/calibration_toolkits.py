"""Quantize a network by a toolkit in whose Python this runs: ``… TOOLKIT NETWORK FLOAT DATA OUT``.

FLOAT is the network's float32 file; DATA an ``.npz`` of its weights, images to calibrate on and test images; OUT the
int8 file, or in its place classes of the test images, ``.npy``.
"""

import sys
from pathlib import Path

import numpy as np


def ai_edge_quantizer(network: str, float_file: str, data: dict[str, np.ndarray], out: Path) -> None:  # noqa: ARG001
    """Quantize the float32 file: weights and activations in int8."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    ((key, signature),) = Interpreter(float_file).get_signature_list().items()
    (name,) = signature["inputs"]
    made = quantizer.Quantizer(float_file, recipe.static_wi8_ai8())
    calibration = made.calibrate({key: [{name: image[None]} for image in data["images"]]})
    out.write_bytes(made.quantize(calibration).quantized_model)


def model_compression_toolkit(network: str, float_file: str, data: dict[str, np.ndarray], out: Path) -> None:  # noqa: ARG001
    """Quantize the network in Keras 2, as the toolkit does by default: for its IMX500, thresholds are powers of two.

    Its description of TFLite refuses these networks, and its int8 files cannot be written: in place of a file, the
    classes of the test images by its own Keras model.
    """
    import keras
    import model_compression_toolkit as mct
    from calibration_networks import NETWORKS, build

    logits = build(NETWORKS[network], keras)
    model = keras.Model(logits.inputs, keras.layers.Softmax()(logits.outputs[0]))
    model.set_weights([data[f"weight_{i}"] for i in range(len(model.get_weights()))])
    batches = np.split(data["images"], range(32, len(data["images"]), 32))
    quantized, _ = mct.ptq.keras_post_training_quantization(model, lambda: ([batch] for batch in batches))
    np.save(out.with_suffix(".npy"), quantized.predict(data["test_images"], batch_size=100, verbose=0).argmax(-1))


TOOLKITS = {"ai-edge-quantizer": ai_edge_quantizer, "model-compression-toolkit": model_compression_toolkit}


def main() -> None:
    """Write the file."""
    toolkit, network, float_file, data, out = sys.argv[1:]
    TOOLKITS[toolkit](network, float_file, dict(np.load(data)), Path(out))


if __name__ == "__main__":
    main()
