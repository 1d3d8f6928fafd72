"""How a run computes: what is left open by a setting is chosen by the device."""

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from tfsep._keras.backend import tf
from tfsep._keras.model_graph import leaf_layers
from tfsep._keras.types import Model
from tfsep.ops._devices import kinds_here
from tfsep.train._config import AUTO, FitConfig

_FIRST_BATCH = 128
"""Largest batch that ``batch_size="auto"`` tries: the default settings were found with it."""

_STEPS, _SMALLEST_BATCH = 10, 8
"""Steps that an epoch of a small data set has at least, as far as batches are no smaller: a normalization by the
statistics of fewer images is none."""

_CPU_INFO = Path("/proc/cpuinfo")
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""Flags of CPUs with products in bfloat16, as Linux names them on x86-64 and ARM."""


@dataclass(frozen=True)
class Computation:
    """How a run computes.

    Attributes:
        device: kind of the device that takes the steps, such as ``"GPU"``.
        xla: whether XLA compiles the step.
        augmentation: ``"host"`` where the input pipeline augments images, ``"device"`` where the step does.
        precision: dtype policy of the model in training.
        batch_size: images in a step of all workers together.
        reasons: why, by the name of the setting.
    """

    device: str
    xla: bool
    augmentation: str
    precision: str
    batch_size: int
    reasons: dict[str, str]

    @classmethod
    def of(cls, record: dict[str, Any]) -> Self:
        """Return the computation of a record that `asdict` made.

        Args:
            record: values by the name of the attribute.

        Raises:
            ValueError: for another record.
        """
        kinds = {
            "device": str,
            "xla": bool,
            "augmentation": str,
            "precision": str,
            "batch_size": int,
            "reasons": dict,
        }
        if {name: type(value) for name, value in record.items()} != kinds:
            raise ValueError(f"expected {', '.join(kinds)}, got {record!r:.80}")
        return cls(**record)

    @property
    def facts(self) -> dict[str, Any]:
        """What all workers of a run must have in common."""
        return {name: value for name, value in asdict(self).items() if name != "reasons"}

    def halved(self) -> Self:
        """Return the same with half the images a step.

        Raises:
            ValueError: if a half does not exist.
        """
        if self.batch_size % 2:
            raise out_of_memory(self)
        reason = f"{self.batch_size} does not fit in the {self.device}'s memory"
        return replace(self, batch_size=self.batch_size // 2, reasons={**self.reasons, "batch_size": reason})

    def describe(self) -> str:
        """Return the computation in words."""
        values = {**self.facts, "xla": "on" if self.xla else "off"}
        del values["device"]
        return f"{self.device}: " + ", ".join(f"{name} {each} ({self.reasons[name]})" for name, each in values.items())


def choose(config: FitConfig, model: Model, strategy: tf.distribute.Strategy, images: int) -> Computation:
    """Return how a run computes.

    Args:
        config: the settings; those that are ``"auto"`` are chosen.
        model: the model, for its layers.
        strategy: the strategy in whose scope the model in training is made.
        images: number of training images.

    Raises:
        ValueError: if XLA is asked for and cannot compile the step; if several replicas are to augment; if a batch
            cannot be divided among replicas and parts, or has more images than there are.

    Examples:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> choose(FitConfig(xla="off", augmentation="host"), model, tf.distribute.get_strategy(), 540).describe()
        'CPU: xla off (as set), augmentation host (as set), precision float32 (as set), batch_size 32 (for 540 images)'
    """
    replicas = strategy.num_replicas_in_sync
    batch, why_batch = _choose_batch(config, replicas, images)
    device = _device_of(strategy)
    xla, why_xla = _choose_xla(config.xla, device, replicas, model)
    augmentation, why_augmentation = _choose_augmentation(config.augmentation, device, replicas, xla)
    precision, why_precision = _choose_precision(getattr(config, "precision", "float32"), device)
    reasons = {
        "xla": why_xla,
        "augmentation": why_augmentation,
        "precision": why_precision,
        "batch_size": why_batch,
    }
    return Computation(device, xla, augmentation, precision, batch, reasons)


def out_of_memory(computation: Computation) -> ValueError:
    """Return the error of a step that does not fit in memory.

    Args:
        computation: how the step computes.
    """
    size = computation.batch_size
    advice = "a smaller one, batch_size=auto or a larger accumulate" if size > 1 else "smaller images"
    return ValueError(
        f"batch_size: expected a step that fits in the {computation.device}'s memory, got {size} images; choose "
        f"{advice}"
    )


def _device_of(strategy: tf.distribute.Strategy) -> str:
    """The kind of device that a step of a strategy runs on."""
    with strategy.scope():
        if tf.distribute.has_strategy():
            return str(tf.DeviceSpec.from_string(strategy.extended.worker_devices[0]).device_type)
        return kinds_here(compiled=True)[0]


def _choose_xla(setting: str, device: str, replicas: int, model: Model) -> tuple[bool, str]:
    synchronized = replicas > 1 and any(getattr(layer, "synchronized", False) for layer in leaf_layers(model))
    if setting == "on" and synchronized:
        raise ValueError(
            "xla: expected off where normalizations exchange their statistics within a step of several devices, got on"
        )
    if setting != AUTO:
        return setting == "on", "as set"
    if device != "GPU":
        return False, "the step is not on a GPU"
    if synchronized:
        return False, "normalizations exchange their statistics within a step"
    uncompiled = [layer.name for layer in leaf_layers(model) if not layer.supports_jit]
    if uncompiled:
        return False, f"{', '.join(uncompiled[:3])} cannot be compiled"
    return True, "the step is on a GPU"


def _choose_augmentation(setting: str, device: str, replicas: int, xla: bool) -> tuple[str, str]:
    # Pairs of mixed neighbours may lie on two replicas.
    if setting == "device" and replicas > 1:
        raise ValueError(f"augmentation: expected host for {replicas} devices, got {setting}")
    if setting != AUTO:
        return setting, "as set"
    if device != "GPU" or not xla:
        return "host", "the step is not compiled for a GPU"
    if replicas > 1:
        return "host", "the step is on several devices"
    return "device", "the step is compiled for a GPU"


def _choose_precision(setting: str, device: str) -> tuple[str, str]:
    if setting != AUTO:
        return setting, "as set"
    if device == "GPU":
        return _gpu_precision()
    if device == "CPU" and _cpu_flags() & _BFLOAT16_FLAGS:
        return "mixed_bfloat16", "the CPU has products in bfloat16"
    return "float32", f"the {device} is not known to have products in 16 bits"


def _gpu_precision() -> tuple[str, str]:
    """The precision of the least of the GPUs: NVIDIA's have products in float16 from 7.0 on, in bfloat16 from 8.0."""
    details = tf.config.experimental.get_device_details
    found = [details(gpu).get("compute_capability") for gpu in tf.config.list_physical_devices("GPU")]
    capability = min((each or (0, 0) for each in found), default=(0, 0))
    has = f"compute capability {'.'.join(map(str, capability))} has" if any(capability) else "not known to have"
    if capability >= (8, 0):
        return "mixed_bfloat16", f"{has} products in bfloat16, which needs no scaled loss"
    if capability >= (7, 0):
        return "mixed_float16", f"{has} products in float16, none in bfloat16"
    return "float32", f"{has}{' no' * any(capability)} fast products in 16 bits"


def _cpu_flags() -> set[str]:
    """The names of the CPU's instruction sets, where the system tells them."""
    lines = _CPU_INFO.read_text(encoding="utf-8").splitlines() if _CPU_INFO.is_file() else []
    return next((set(line.split()) for line in lines if line.lower().startswith(("flags", "features"))), set())


def _choose_batch(config: FitConfig, replicas: int, images: int) -> tuple[int, str]:
    parts = replicas * config.accumulate
    size, reason = parts, f"for {images:,} images"
    wanted = min(_FIRST_BATCH, images, max(_SMALLEST_BATCH, images // _STEPS))
    if config.batch_size != AUTO:
        size, reason = config.images_per_step, "as set"
    elif 2 * size <= wanted:
        size *= 2 ** int(math.log2(wanted / size))
    if size % parts:
        raise ValueError(
            f"batch_size: expected a multiple of {parts} for {replicas} devices and accumulate {config.accumulate}, "
            f"got {size}"
        )
    if size > images:
        raise ValueError(f"batch_size: expected at most the {images} training images, got {size}")
    return size, reason
