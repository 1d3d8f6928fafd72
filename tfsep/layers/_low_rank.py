"""Low-rank adaptation (LoRA) of a layer's kernel, under the names of Keras."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Self, overload

import numpy as np

from tfsep._keras.backend import keras, tf
from tfsep._keras.types import InitializerLike, Layer, Tensor
from tfsep._utils.arguments import positive_int, positive_number


class AdaptedKernel:
    """A kernel as an attribute of a layer: the variable, or its sum with the factors of a low-rank adaptation."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name, self._slot = name, f"_{name}"

    @overload
    def __get__(self, layer: None, owner: type) -> Self: ...

    @overload
    def __get__(self, layer: "LowRankAdaptation", owner: type) -> Any: ...

    def __get__(self, layer: "LowRankAdaptation | None", owner: type) -> Any:
        if layer is None:
            return self
        kernel = vars(layer).get(self._slot)
        if kernel is None:
            raise AttributeError(f"{self._name}: expected a layer that was built, got {layer.name!r}, which is not")
        return layer.adapted(kernel) if layer.lora_enabled else kernel

    def __set__(self, layer: Layer, kernel: keras.Variable) -> None:
        setattr(layer, self._slot, kernel)


class Adaptable(keras.layers.Layer):
    """A layer, simple or composite, with a kernel W (..., F) that can have a low-rank adaptation."""

    def enable_lora(
        self,
        rank: int,
        lora_alpha: float | None = None,
        a_initializer: InitializerLike = "he_uniform",
        b_initializer: InitializerLike = "zeros",
    ) -> None:
        """Freeze the kernel, of separable layers the 1×1 one, and train a low-rank matrix that is added to it.

        A compiled model is compiled again.

        Args:
            rank: columns of A and rows of B.
            lora_alpha: the matrix is scaled by ``lora_alpha / rank``; None for the rank.
            a_initializer: initializer of A (..., rank), of the kernel's shape but for the last axis.
            b_initializer: initializer of B (rank, F).

        Raises:
            ValueError: for a layer that is not built, is adapted already, or whose kernel has a constraint.
        """
        rank = positive_int(rank, "rank")
        self._adapt(rank, rank if lora_alpha is None else _alpha(lora_alpha), a_initializer, b_initializer)

    def _adapt(self, rank: int, alpha: float, a_initializer: InitializerLike, b_initializer: InitializerLike) -> None:
        raise NotImplementedError


class LowRankAdaptation(Adaptable):
    """A layer of one kernel W (..., F) that can be trained as ``W + (lora_alpha / lora_rank) · A·B``, with W frozen.

    It is that of `keras.layers.Conv2D`: the same names, weights, config and files. A file has the sum in place of W, so
    it loads into a layer without adaptation, too. Loaded into one with adaptation, it is the new W, and B is zero.

    Args:
        lora_rank: the adaptation that the layer is built with; None for none.
        lora_alpha: numerator of its scale; None for the rank.
        **options: arguments of the class that this is mixed into.

    Source: E. J. Hu et al., "LoRA" (arXiv 2106.09685).
    """

    _adapted: ClassVar[tuple[str, str]] = ("kernel", "kernel")
    """The name of the kernel, and of the options of its weight."""

    def __init__(self, *, lora_rank: int | None = None, lora_alpha: float | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.lora_rank = None if lora_rank is None else positive_int(lora_rank, "lora_rank")
        self.lora_alpha = self.lora_rank if lora_alpha is None else _alpha(lora_alpha)
        self.lora_enabled = False

    @property
    def _frozen_kernel(self) -> keras.Variable:
        return getattr(self, f"_{self._adapted[0]}")

    def adapted(self, kernel: keras.Variable) -> Tensor:
        """Return the sum of a kernel and its adaptation, in the kernel's dtype.

        Args:
            kernel: the frozen kernel.
        """
        assert self.lora_rank is not None
        assert self.lora_alpha is not None
        kernel, first, second = map(tf.convert_to_tensor, (kernel, self.lora_kernel_a, self.lora_kernel_b))
        update = tf.linalg.matmul(first, second) * (self.lora_alpha / self.lora_rank)
        return kernel + tf.cast(update, kernel.dtype)

    def _adapt_as_given(self) -> None:
        """Begin the adaptation that the layer was made with, at the end of its build."""
        if self.lora_rank is not None:
            self._add_factors(self.lora_rank, self.lora_alpha or self.lora_rank, "he_uniform", "zeros")

    def _adapt(self, rank: int, alpha: float, a_initializer: InitializerLike, b_initializer: InitializerLike) -> None:
        if not self.built:
            raise ValueError(f"enable_lora: expected a layer that was built, got {self.name!r}, which is not")
        if self.lora_enabled:
            raise ValueError(f"enable_lora: expected a layer without adaptation, got {self.name!r}, which has one")
        with _unlocked(self):
            self._add_factors(rank, alpha, a_initializer, b_initializer)

    def _add_factors(
        self, rank: int, alpha: float, a_initializer: InitializerLike, b_initializer: InitializerLike
    ) -> None:
        kind = self._adapted[1]
        if getattr(self, f"{kind}_constraint") is not None:
            raise ValueError(
                f"{kind}_constraint: expected None for a kernel with low-rank adaptation, got one in {self.name!r}"
            )
        kernel = self._frozen_kernel
        name, options = self._adapted[0], {"dtype": "float32", "regularizer": getattr(self, f"{kind}_regularizer")}
        shape = tuple(kernel.shape)
        self.lora_kernel_a = self.add_weight(
            name=f"lora_{name}_a", shape=(*shape[:-1], rank), initializer=a_initializer, **options
        )
        self.lora_kernel_b = self.add_weight(
            name=f"lora_{name}_b", shape=(rank, shape[-1]), initializer=b_initializer, **options
        )
        kernel.trainable = False
        self.lora_rank, self.lora_alpha, self.lora_enabled = rank, alpha, True

    def _stored(self) -> list[keras.Variable]:
        """The variables that a file of an adapted layer has."""
        factors = {id(self.lora_kernel_a), id(self.lora_kernel_b)}
        return [weight for weight in self.weights if id(weight) not in factors]

    def save_own_variables(self, store: Any) -> None:
        """Write the variables; of an adapted kernel, the sum.

        Args:
            store: a mapping from the variables' numbers to arrays.
        """
        if not self.lora_enabled:
            super().save_own_variables(store)
            return
        for number, weight in enumerate(self._stored()):
            store[str(number)] = np.asarray(self.adapted(weight) if weight is self._frozen_kernel else weight)

    def load_own_variables(self, store: Any) -> None:
        """Read the variables; an adapted kernel is read as the frozen one, with B zero.

        Args:
            store: a mapping from the variables' numbers to arrays.

        Raises:
            ValueError: for another number of variables.
        """
        if not self.lora_enabled:
            super().load_own_variables(store)
            return
        stored = self._stored()
        if len(store.keys()) != len(stored):
            raise ValueError(f"store: expected {len(stored)} variables for {self.name!r}, got {len(store.keys())}")
        for number, weight in enumerate(stored):
            weight.assign(store[str(number)])
        # A stays as it was drawn: with both factors zero, neither would have a gradient.
        self.lora_kernel_b.assign(tf.zeros(self.lora_kernel_b.shape))

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, under Keras's names."""
        adaptation = {} if self.lora_rank is None else {"lora_rank": self.lora_rank, "lora_alpha": self.lora_alpha}
        return {**super().get_config(), **adaptation}


def _alpha(value: float) -> float:
    """Return a scale's numerator as it was given, an int or a float, so that a config survives a round trip."""
    positive_number(value, "lora_alpha")
    return value


@contextmanager
def _unlocked(layer: Layer) -> Iterator[None]:
    """Let a built layer have new weights, for which Keras has no public way."""
    layer._tracker.unlock()
    try:
        yield
    finally:
        layer._tracker.lock()
