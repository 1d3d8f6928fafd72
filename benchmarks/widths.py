"""Train a network at several widths and measure its files: ``python benchmarks/widths.py RUNS [--widths 0.25,0.5]``.

Each width is trained in float, exported as float32 and, calibrated, as int8, fine-tuned for int8 and exported again. A
run that is in the folder RUNS already goes on where it was, or is taken as it is. Writes ``widths.csv`` and
``widths.md`` beside this file, or where ``--out`` says. Accuracies are of all test images, computed once a file, and
nothing is chosen by them; times are medians of one image on one thread.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfsep import tflite
from tfsep._utils.messages import messages_to
from tfsep._utils.table import Table
from tfsep.cost import cost
from tfsep.data import ImageData, open_data, preprocess
from tfsep.defs import NETWORKS
from tfsep.models import load_model
from tfsep.train import FitConfig, QuantizeConfig, TrainConfig, finetune, read_config, train
from tfsep.train._run_directory import CHECKPOINT, MODEL

HERE = Path(__file__).parent
CALIBRATION_SAMPLES = 500
COLUMNS = (
    *("width", "params", "MACs", "float", "float32 kB", "float32 ms"),
    *("int8 calibrated", "kB", "ms", "int8 fine-tuned", "kB", "ms"),
)


def run(work: Any, config: FitConfig, folder: Path, *arguments: Any) -> Any:
    """Run to the end what may have begun, or ended, already."""
    if (folder / MODEL).is_file():
        return load_model(folder / MODEL)
    resume = (folder / CHECKPOINT).is_file()
    with messages_to(lambda line: print(folder, line, flush=True)):
        return work(*arguments, config, DATA, folder, resume=resume).model


def measured(model: Any, path: Path, recipe: str, calibration: Any = None) -> tuple[str, str, str]:
    """Accuracy, size and time of a model's file."""
    report = tflite.export(model, path, recipe, calibration=calibration, data=DATA.test.batches())
    milliseconds = tflite.benchmark(path, runs=300, warmup=50).median_ms
    return f"{report.accuracy:.4f}", f"{report.size_bytes / 1000:.0f}", f"{milliseconds:.3f}"


def row_of(config: TrainConfig, quantization: QuantizeConfig, runs: Path) -> tuple[str, ...]:
    """Train, fine-tune and measure one width."""
    folder = runs / f"{config.alpha:g}"
    count = cost(NETWORKS[config.network], DATA.image_shape, config.alpha, num_classes=len(DATA.class_names))
    trained = run(train, config, folder / "float")
    fine = run(finetune, quantization, folder / "int8", trained)
    calibration = preprocess(DATA.train.take(0, CALIBRATION_SAMPLES).images())
    files = (
        measured(trained, folder / "float32.tflite", "float32"),
        measured(trained, folder / "calibrated.tflite", "int8", calibration),
        measured(fine, folder / "fine_tuned.tflite", "int8"),
    )
    return (f"{config.alpha:g}", f"{count.params:,}", f"{count.macs:,}", *(cell for file in files for cell in file))


def main() -> None:
    """Fill the table, a width after the other, and write it after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder of the runs")
    parser.add_argument("--widths", default="0.25,0.5,0.75,1", help="width multipliers, by comma")
    parser.add_argument("--config", type=Path, help="TOML file of the training")
    parser.add_argument("--quantize-config", type=Path, help="TOML file of the fine-tuning")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of widths.csv and widths.md")
    options = parser.parse_args()
    config = TrainConfig.of(read_config(options.config) if options.config else {})
    quantization = QuantizeConfig.of(read_config(options.quantize_config) if options.quantize_config else {})
    rows: list[tuple[str, ...]] = []
    for width in options.widths.split(","):
        rows.append(row_of(replace(config, alpha=float(width)), quantization, options.runs))
        table = Table(COLUMNS, rows)
        (options.out / "widths.csv").write_text(table.csv())
        (options.out / "widths.md").write_text(table.markdown() + "\n")
        print(table.text(), flush=True)


if __name__ == "__main__":
    DATA: ImageData = open_data("fashion_mnist")
    main()
