"""The card of a shipped model: its training, its measured accuracy, its files."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from tfsep._utils.table import Table
from tfsep.cost import cost
from tfsep.data import ImageData, SceneData
from tfsep.defs import NETWORKS
from tfsep.tflite import ExportReport
from tfsep.train import FitConfig, QuantizeConfig, TrainConfig, TrainResult


@dataclass(frozen=True)
class Card:
    """The facts on a model's card.

    Attributes:
        name: name of the model's folder.
        result: result of the training.
        config: settings of the training.
        data: the data set of the training.
        reports: export reports of the files, by recipe.
        epochs: log records of the training.
        cores: number of CPU cores of the machine.
    """

    name: str
    result: TrainResult
    config: FitConfig
    data: ImageData | SceneData
    reports: dict[str, ExportReport]
    epochs: list[dict[str, Any]]
    cores: int

    _examples: ClassVar[str] = "images"

    @property
    def _held_out(self) -> int:
        """The number of held-out images."""
        return self.config.held_out_of(self.data.train.size)

    @property
    def command(self) -> str:
        """The command that makes the model again."""
        place = f"saved_models/{self.name}"
        verb = f"quantize saved_models/{self._base}/model.keras" if self._is_int8 else "train"
        return f"tfsep {verb} --config {place}/config.toml --publish {place}"

    @property
    def time(self) -> str:
        """The time of training, as a sentence."""
        minutes = sum(epoch["seconds"] for epoch in self.epochs) / 60
        return f"{len(self.epochs)} epochs in {minutes:.0f} minutes on {self.cores} CPU cores."

    @property
    def accuracies(self) -> str:
        """The scores, as a sentence."""
        held_out, score, what = self.result.validation_score, self.result.score, self._examples
        validation = "" if held_out is None else f"held-out {score} {held_out:.4f} ({self._held_out:,} {what}), "
        return f"{validation}test {score} {self.result.test_score:.4f} ({self.data.test.size:,} {what})."

    def text(self) -> str:
        """Return the card as Markdown."""
        data, shape = self.data, " × ".join(map(str, self.data.image_shape))
        licence = (
            "Model: Apache-2.0. Images: see `NOTICE`." if data.notice else "The images' owners' and the trainer's."
        )
        return f"""# {self.name}: {self._title}

{self._description}

**Test {self.result.score}: {self.result.test_score:.4f}** {self._evaluation}

- Input: float32, N × {shape}, {data.train.preprocessing.describe()} (`model.json`).
- Output: {self._output}.
- Training: {self.time} `log.jsonl` has every epoch, `curves.png` draws them. {self._epoch_kept}
- Made by `{self.command}`

![loss, {self.result.score} and learning rate of every epoch](curves.png)

## Files

{self._verified} {self._ranges}

{self._files().markdown()}

{self._samples}

## Recipe

{Table(("setting", "value"), [(f"`{name}`", value) for name, value in asdict(self.config).items()]).markdown()}

## Licence

{licence}
"""

    @property
    def _is_int8(self) -> bool:
        return isinstance(self.config, QuantizeConfig)

    @property
    def _base(self) -> str:
        """The name of the float model that a fine-tuned one comes from."""
        return self.name.removesuffix("_int8")

    @property
    def _title(self) -> str:
        # A fine-tuned model may be of any network: its settings name none.
        if not isinstance(self.config, TrainConfig):
            return "fine-tuned for int8"
        return NETWORKS[self.config.network].title

    @property
    def _description(self) -> str:
        if not isinstance(self.config, TrainConfig):
            return (
                f"The model of `saved_models/{self._base}`, trained on with fake quantization. What\n"
                "the Keras model computes is what its int8 file computes, number by number."
            )
        shape, classes = self.data.image_shape, len(self.data.class_names)
        name, network = self.config.network, NETWORKS[self.config.network]
        counted = cost(network, shape, alpha=self.config.alpha, num_classes=classes)
        return (
            f'{network.title} (`tfsep.defs.NETWORKS["{name}"]`, width {self.config.alpha}), '
            f"trained from scratch on images of\n{' × '.join(map(str, shape))}: "
            f"{self.result.model.count_params():,} parameters, {counted.macs:,} MACs (multiply-accumulates) per image."
        )

    @property
    def _epoch_kept(self) -> str:
        kept = f"The epoch with the best held-out {self.result.score}" if self._held_out else "The last epoch"
        averaged = ", its weights averaged over the steps before," if self.config.average else ""
        return f"{kept}{averaged} is the model."

    @property
    def _ranges(self) -> str:
        if self._is_int8:
            return "Its ranges are the trained ones; nothing was calibrated."
        samples = next((report.calibration["samples"] for report in self.reports.values() if report.calibration), 0)
        return f"Integer recipes were calibrated on {samples} training {self._examples}."

    @property
    def _evaluation(self) -> str:
        return (
            f"on all {self.data.test.size:,} test images. The test set was looked at\n"
            f"when training was over, and nothing was chosen by it: {self._held_out:,} of the "
            f"{self.data.train.size:,} training\nimages were held out for every choice."
        )

    @property
    def _class_list(self) -> str:
        return ", ".join(self.data.class_names)

    @property
    def _output(self) -> str:
        return f"float32, N × {len(self.data.class_names)}, probabilities of {self._class_list}"

    @property
    def _verified(self) -> str:
        return (
            "Each `.tflite` file was verified against the Keras model on the whole test set when it was written; its "
            "report is the\nJSON beside it."
        )

    @property
    def _samples(self) -> str:
        return "`samples.npz` holds training images to calibrate on and the first test images with their labels."

    def _files(self) -> Table:
        return Table(
            ("file", "kB", "test accuracy", "same class as the model", "largest error", "nodes delegated"),
            [
                (
                    f"`model_{recipe}.tflite`",
                    f"{report.size_bytes / 1000:.0f}",
                    f"{report.accuracy:.4f}",
                    f"{report.top1_agreement:.4f}",
                    f"{report.max_error:.2g}",
                    f"{report.delegated} of {report.nodes}",
                )
                for recipe, report in self.reports.items()
            ],
        )
