"""Kinds of device, such as CPU and GPU: those that are there, and those that a convolution may run on."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial, wraps
from typing import Any, TypeVar, cast

from tfsep._keras.backend import tf
from tfsep._keras.types import Tensor

_Method = TypeVar("_Method", bound=Callable[..., Tensor])


class DevicesDiffer(Exception):
    """The devices that a traced convolution may run on do not agree in what they compute correctly."""


def by_device(method: _Method) -> _Method:
    """Where the devices differ (`DevicesDiffer`), have the graph choose among them when it runs.

    Args:
        method: a method of a frozen dataclass with a field `devices`.

    Returns:
        The method, which runs once for each device where it cannot for all.
    """

    @wraps(method)
    def computed(self: Any, *given: Any) -> Tensor:
        try:
            return method(self, *given)
        except DevicesDiffer:
            ways = [partial(method, replace(self, devices=(device,)), *given) for device in self.devices]
            return tf.switch_case(tf.raw_ops.DeviceIndex(device_names=self.devices), ways)

    return cast(_Method, computed)


def kinds_there() -> tuple[str, ...]:
    """The kinds of device of this process, CPU first."""
    kinds = (_kind(device.name) for device in tf.config.list_logical_devices())
    return tuple(dict.fromkeys(kind for kind in kinds if kind is not None))


def kinds_here(compiled: bool) -> tuple[str, ...]:
    """The kinds of device that an op made now may run on: one where it is known, else all that are there.

    It is known when ops run at once, and inside ``tf.device``, which the replicas of a distribution strategy are too.
    A ``tf.function`` traced without it is not: one trace serves calls on every device, and ``tf.data`` runs it on the
    CPU. Nor is a graph that becomes a file.

    What XLA compiles is right everywhere. So it is made for the device in whose context it is traced: an accelerator,
    where there is one, but for ``tf.device``.

    Args:
        compiled: whether XLA will compile the op.
    """
    kinds = kinds_there()
    if len(kinds) == 1:
        return kinds
    here = _kind_of_new_op()
    if compiled and here not in kinds:
        with tf.init_scope():
            here = _kind_of_new_op()
        here = here if here in kinds else next(kind for kind in kinds if kind != "CPU")
    return (here,) if here in kinds else kinds


def _kind_of_new_op() -> str | None:
    """The kind of device that an op is placed on now, if that is decided.

    TensorFlow has no other public answer: an op's own device is right in eager code, in graphs and in replicas.
    """
    return _kind(tf.zeros(()).device)


def _kind(device: str) -> str | None:
    """The kind in a device's name; a TPU has several names."""
    kind = tf.DeviceSpec.from_string(device).device_type
    return None if kind is None else str(kind).partition("_")[0]
