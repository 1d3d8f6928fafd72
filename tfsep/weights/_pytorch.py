"""Loading of weights from PyTorch: a state dict, or a file of one."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np

from tfsep._keras.backend import tf
from tfsep._keras.types import Model
from tfsep._utils.arguments import as_found, as_path, number_in_range
from tfsep._utils.foreign_errors import cause_of
from tfsep.weights._conv_bn_stages import (
    ModelStage,
    Normalization,
    SourceStage,
    assign_stages,
    require_padding,
    stages_of_model,
)
from tfsep.weights._torch_modules import forward_order

_PARAMETERS = ("weight", "bias", "running_mean", "running_var")
_COUNTER = "num_batches_tracked"


def load_torch(
    model: Model,
    source: Mapping[str, Any] | str | PathLike[str],
    epsilon: float = 1e-5,
    padding: str = "explicit",
) -> None:
    """Load a PyTorch network of the MobileNet family into a model with the same layers.

    Kernels are transposed from OIHW to HWIO and HWCM. The order of a state dict does not matter: modules are sorted by
    numbers and names, those of timm, of torchvision and of ``efficientnet_pytorch``. The model stays unchanged unless
    everything fits.

    A state dict says neither how its network pads nor what it adds to variances:

    | source | `padding` | `epsilon` |
    | --- | --- | --- |
    | timm's networks, torchvision's ``mobilenet_v2`` | ``"explicit"`` | 1e-5 |
    | torchvision's ``mobilenet_v3_large`` and ``_small`` | ``"explicit"`` | 1e-3 |
    | timm's ``tf_`` networks, whose weights are TensorFlow's; ``efficientnet_pytorch`` | ``"same"`` | 1e-3 |

    Args:
        model: model with the same convolutions as the source, in the same order, built with the same `padding`, such as
            ``MobileNetV2(..., padding="explicit")``.
        source: a state dict (names to tensors or arrays), or one under ``"state_dict"``; or the path of a
            ``.safetensors`` file, which needs no PyTorch, or of a ``.pt`` or ``.pth`` file, which needs PyTorch and is
            loaded with ``weights_only=True``.
        epsilon: added to the variance by the source's batch normalizations. The default is PyTorch's.
        padding: how the source pads, a key of `tfsep.defs.PADDING_RULES`: ``"explicit"``, on both sides and by the
            kernel alone, is PyTorch's.

    Raises:
        TypeError: if `model` is no Keras model, or `source` neither path nor state dict.
        FileNotFoundError: if there is no such file.
        ImportError: if the package that reads it is not installed.
        ValueError: if the file is damaged, if weights are missing, unused or of another shape, if modules cannot be
            sorted by their names, if the model pads otherwise, or for an unknown `padding`.

    Examples:
        >>> from tfsep.models import MobileNetV1
        >>> load_torch(MobileNetV1((32, 32, 3), padding="explicit"), "missing.safetensors")
        Traceback (most recent call last):
        FileNotFoundError: source: expected a file, got missing.safetensors, which does not exist
    """
    epsilon = number_in_range(epsilon, "epsilon", float, 0, 1)
    model_stages = stages_of_model(model)
    require_padding(model_stages, padding, "the source")
    if isinstance(source, Mapping):
        state, name = source, "a state dict"
    else:
        path = as_path(source, "source")
        state, name = _read(path), str(path)
    assign_stages(model, model_stages, _stages(_arrays(state), model_stages, epsilon), "source", name)


def _read(path: Path) -> Mapping[str, Any]:
    """The state dict in a file."""
    if path.suffix not in _READERS:
        raise ValueError(f"source: expected a file that ends in {', '.join(_READERS)}, got {path}")
    if not path.is_file():
        raise FileNotFoundError(f"source: expected a file, got {as_found(path)}")
    reader = _READERS[path.suffix]
    try:
        state = reader(path)
    except ImportError as error:
        raise ImportError(f"source: expected {_NEEDS[path.suffix]} to read {path} by, got none") from error
    except UnpicklingError as error:
        raise ValueError(
            f"source: expected a file of tensors and nothing else, got {path}: other objects are not loaded, since "
            "loading them can run any code; save the model's state_dict()"
        ) from error
    except Exception as error:  # the readers of damaged files raise all kinds of errors
        raise ValueError(
            f"source: expected a whole {path.suffix} file of tensors, got {path} ({cause_of(error)})"
        ) from error
    if not isinstance(state, Mapping):
        raise ValueError(f"source: expected a state dict in {path}, got {type(state).__name__}")
    return state


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors.numpy import load_file

    return load_file(path)


def _read_torch(path: Path) -> Any:
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


_READERS = {".safetensors": _read_safetensors, ".pt": _read_torch, ".pth": _read_torch}
_NEEDS = {
    ".safetensors": "the package safetensors (tfsep's extra 'weights')",
    ".pt": "PyTorch (or a .safetensors file)",
    ".pth": "PyTorch (or a .safetensors file)",
}


def _arrays(state: Mapping[Any, Any]) -> dict[str, np.ndarray]:
    """The tensors of a state dict as float32 arrays, without the counters of batches."""
    while isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    found = {}
    for name, value in state.items():
        if str(name).endswith(_COUNTER):
            continue
        if not (isinstance(name, str) and hasattr(value, "shape") and hasattr(value, "dtype")):
            raise ValueError(f"source: expected names and tensors, got {type(value).__name__} under {name!r}")
        try:
            # PyTorch's tensors may be bfloat16, which NumPy lacks, and may require gradients.
            array = np.asarray(value.detach().float().cpu() if hasattr(value, "detach") else value)
            floats = tf.dtypes.as_dtype(array.dtype).is_floating
        except (TypeError, RuntimeError) as error:  # sparse tensors, quantized ones, those on no device
            raise ValueError(f"source: expected dense tensors of floats, got another under {name!r}") from error
        if not floats:
            raise ValueError(f"source: expected tensors of floats, got {array.dtype} under {name!r}")
        found[name] = array.astype("float32")
    return found


def _modules(arrays: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """The parameters of each module by the last part of their names, modules in the order of the forward pass."""
    modules: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        module, _, parameter = name.rpartition(".")
        if parameter not in _PARAMETERS:
            raise ValueError(f"source: expected parameters called {', '.join(_PARAMETERS)}, got {name!r}")
        modules.setdefault(module, {})[parameter] = array
    return {name: modules[name] for name in forward_order(modules)}


def _stages(arrays: dict[str, np.ndarray], model_stages: list[ModelStage], epsilon: float) -> list[SourceStage]:
    """The stages of a state dict; the model tells which kernels are depthwise."""
    found: list[SourceStage] = []
    for name, own in _modules(arrays).items():
        weight = own.get("weight")
        if {"running_mean", "running_var", "weight", "bias"} == own.keys() and found and not found[-1].normalization:
            parts = own["weight"], own["bias"], own["running_mean"], own["running_var"]
            found[-1] = found[-1]._replace(normalization=Normalization(*parts, epsilon))
        elif weight is not None and weight.ndim in (2, 4) and own.keys() <= {"weight", "bias"}:
            depthwise = len(found) < len(model_stages) and model_stages[len(found)].depthwise
            found.append(SourceStage(name, _kernel(name, weight, depthwise), depthwise, own.get("bias")))
        else:
            raise ValueError(
                "source: expected convolutions, dense layers and a batch normalization behind each, got "
                f"{', '.join(own)} of {name!r}"
            )
    return found


def _kernel(name: str, weight: np.ndarray, depthwise: bool) -> np.ndarray:
    """A kernel (F, C, kh, kw) as (kh, kw, C, F), depthwise (C, 1, kh, kw) as (kh, kw, C, 1), dense (F, C) as 1×1."""
    if weight.ndim == 2:
        weight = weight[:, :, None, None]
    if depthwise and weight.shape[1] != 1:
        raise ValueError(f"source: expected a depthwise kernel (C, 1, kh, kw) in {name!r}, got {weight.shape}")
    return weight.transpose(2, 3, 0, 1) if depthwise else weight.transpose(2, 3, 1, 0)
