"""Training: recipes as records, one step for every number of devices, and runs that can be stopped at any moment.

`train` makes a model from definitions, `finetune` makes one for int8 of a trained one. What a run was told, how it went
and where it goes on is in its folder.
"""

from tfsep.train._augment import augment, draws, mix
from tfsep.train._batches import epoch_batches, smoothed
from tfsep.train._config import FitConfig, TrainConfig, parse_setting, read_config, to_toml
from tfsep.train._finetune import QuantizeConfig, finetune
from tfsep.train._model_setup import build, optimizer_of, with_softmax
from tfsep.train._run import TrainResult, accuracy
from tfsep.train._run_directory import BEST, CHECKPOINT, CONFIG, CURVES, DATA, LOG, MODEL
from tfsep.train._strategy import STRATEGIES, Devices, join
from tfsep.train._train import train
from tfsep.train._trainer import Trainer

__all__ = [
    "BEST",
    "CHECKPOINT",
    "CONFIG",
    "CURVES",
    "DATA",
    "LOG",
    "MODEL",
    "STRATEGIES",
    "Devices",
    "FitConfig",
    "QuantizeConfig",
    "TrainConfig",
    "TrainResult",
    "Trainer",
    "accuracy",
    "augment",
    "build",
    "draws",
    "epoch_batches",
    "finetune",
    "join",
    "mix",
    "optimizer_of",
    "parse_setting",
    "read_config",
    "smoothed",
    "to_toml",
    "train",
    "with_softmax",
]
