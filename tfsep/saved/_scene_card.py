"""The card of a shipped segmentation network or detector."""

from dataclasses import dataclass, field

from tfsep._utils.table import Table
from tfsep.cost import cost
from tfsep.data import SceneData
from tfsep.saved._card import Card
from tfsep.saved._scene_files import VERIFIED_SCENES, SceneFile
from tfsep.train import SceneConfig
from tfsep.train._scene_config import held_out_scenes


@dataclass(frozen=True)
class SceneCard(Card):
    """The facts on the card of a segmentation network or a detector.

    Attributes:
        name: name of the model's folder.
        result: result of the training.
        config: settings of the training.
        data: the scenes of the training.
        reports: export reports of the files, by recipe.
        epochs: log records of the training.
        cores: number of CPU cores of the machine.
        files: the files with their scores, by recipe.
    """

    data: SceneData
    files: dict[str, SceneFile] = field(default_factory=dict)

    _examples = "scenes"

    @property
    def _held_out(self) -> int:
        return held_out_scenes(self.config, self.data.held_out.size)

    @property
    def _evaluation(self) -> str:
        return (
            f"on {self.data.test.size:,} test scenes, whose garments are in no other scene. They were\n"
            "looked at when training was over, and nothing was chosen by them: scenes of held-out garments were there\n"
            "for every choice."
        )

    @property
    def _output(self) -> str:
        rows, columns, _ = self.data.image_shape
        classes = len(self.data.class_names)
        if self.result.decoding is None:
            return f"float32, N × {rows} × {columns} × {classes + 1}, probabilities of background, {self._class_list}"
        count = self.result.decoding.anchors.count
        return (
            f"float32, `offsets`, N × {count} × 4, and `classes`, N × {count} × {classes}, scores of\n"
            f"  {self._class_list}; `model.json` has the anchors, by which `tfsep.boxes.detections` makes objects"
        )

    @property
    def _description(self) -> str:
        if not isinstance(self.config, SceneConfig):
            return super()._description
        size = " × ".join(map(str, self.data.image_shape))
        return (
            f'A {self.config.head} on `tfsep.defs.NETWORKS["{self.config.network}"]`, width {self.config.alpha}, for '
            f"scenes of Fashion-MNIST's garments,\n{size} (`tfsep.data.fashion_scenes`): "
            f"{self.result.model.count_params():,} parameters, {cost(self.result.model).macs:,} MACs "
            "(multiply-accumulates) per scene."
        )

    @property
    def _verified(self) -> str:
        verified = (
            f"Each `.tflite` file was verified against the Keras model on {VERIFIED_SCENES} test scenes, and scored on "
            "all, when it was\nwritten; its report is the JSON beside it."
        )
        if self.result.decoding is None:
            return verified
        return (
            f"{verified} `detector_<recipe>.tflite` is the same with LiteRT's\n"
            "`TFLite_Detection_PostProcess` behind it, which returns boxes, classes and scores."
        )

    @property
    def _samples(self) -> str:
        return "`samples.npz` holds test scenes with their boxes and masks."

    def _files(self) -> Table:
        headers = ("file", "kB", f"test {self.result.score}", "largest error", "nodes delegated")
        return Table(
            headers,
            [
                (
                    f"`model_{recipe}.tflite`",
                    f"{file.report.size_bytes / 1000:.0f}",
                    f"{file.score:.4f}",
                    f"{file.report.max_error:.2g}",
                    f"{file.report.delegated} of {file.report.nodes}",
                )
                for recipe, file in self.files.items()
            ],
        )
