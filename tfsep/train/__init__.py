"""Training: settings as records, one training step for any number of devices, runs that can be stopped and resumed.

`train` trains a network from its definitions, `finetune` a trained model for int8. A run's settings, log, checkpoint
and model are files in its folder.
"""

from tfsep.train._config import FitConfig, TrainConfig, read_config, to_toml
from tfsep.train._finetune import QuantizeConfig, finetune
from tfsep.train._run import TrainResult
from tfsep.train._scene_config import TASKS, SceneConfig, config_of
from tfsep.train._scores import accuracy, detection_score, segmentation_score
from tfsep.train._strategy import STRATEGIES, Devices, join
from tfsep.train._train import train

__all__ = [
    "STRATEGIES",
    "TASKS",
    "Devices",
    "FitConfig",
    "QuantizeConfig",
    "SceneConfig",
    "TrainConfig",
    "TrainResult",
    "accuracy",
    "config_of",
    "detection_score",
    "finetune",
    "join",
    "read_config",
    "segmentation_score",
    "to_toml",
    "train",
]
