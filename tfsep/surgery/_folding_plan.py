"""Which batch normalization of a model folds into which layers, and why the others stay."""

from collections import defaultdict
from collections.abc import Iterator

from tfsep._keras.model_graph import Graph, NamedCall
from tfsep._keras.types import Layer, Model
from tfsep.surgery._channel_affine import ChannelAffine, Obstacle, is_transparent, through
from tfsep.surgery._foldable import (
    has_foldable_class,
    is_normalization,
    mismatches,
    mismatches_ahead,
    uses_moving_statistics,
)


class FoldingPlan:
    """The folding of the normalizations of one model, by the names of its layers.

    A normalization folds into the layer in front of it, also through other normalizations that do and through layers
    that its scale and shift pass; otherwise into all layers behind it.

    Attributes:
        graph: the model's graph.
        behind: for each layer, the scales and shifts of its results that fold into it, the next one first.
        ahead: for each layer, those of its input.
        absorbed: the normalizations that fold.
        kept: the normalizations that stay, each with the reason.
        names: the layers that get a new name, that of an absorbed output of the model.
    """

    def __init__(self, source: Model, barred: str | None) -> None:
        """Plan the folding.

        Args:
            source: a plain model.
            barred: the reason why nothing in it may be folded, or None.
        """
        self.graph = Graph.of(source)
        self.behind: dict[str, list[ChannelAffine]] = defaultdict(list)
        self.ahead: dict[str, list[ChannelAffine]] = defaultdict(list)
        self.absorbed: set[str] = set()
        self.kept: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self._layers: dict[str, Layer] = {layer.name: layer for layer in source.layers}
        own = [name for name in self.graph.calls if name in self._layers and is_normalization(self._layers[name])]
        for name in own:
            self._plan(name, barred)
        for name in reversed([name for name in own if name in self.kept and not barred]):
            self._plan_ahead(name)

    def _plan(self, name: str, barred: str | None) -> None:
        """Fold a normalization into the layer in front of it, or say why not."""
        try:
            if barred:
                raise Obstacle(barred)
            target, affine = self._in_front(name)
        except Obstacle as obstacle:
            self.kept[name] = str(obstacle)
            return
        self.behind[target].append(affine)
        self.absorbed.add(name)
        if name in self.graph.outputs:
            source = self._source(name)
            while source in self.absorbed:
                source = self._source(source)
            self.names[source] = name

    def _plan_ahead(self, name: str) -> None:
        """Fold a normalization into all layers behind it, or add why not."""
        try:
            found = self._users(name, self._layers[name], self._affine(name))
        except Obstacle as obstacle:
            self.kept[name] += f"), nor ahead ({obstacle}"
            return
        for target, affine in found:
            self.ahead[target].append(affine)
        self.absorbed.add(name)
        del self.kept[name]

    def _source(self, name: str) -> str:
        return str(self.graph.calls[name][0].source)

    def _affine(self, name: str) -> ChannelAffine:
        """The scale and shift of a normalization that is called once, by its moving statistics."""
        layer, call = self._layers[name], self._only_call(name, "it")
        if call.training and not uses_moving_statistics(layer):
            raise Obstacle("it is called with training=True")
        return ChannelAffine.of(layer)

    def _only_call(self, name: str, called: str | None = None) -> NamedCall:
        """The call of a layer that is called once."""
        call, *others = self.graph.calls[name]
        if others:
            raise Obstacle(f"{called or repr(name)} is called more than once")
        return call

    def _in_front(self, name: str) -> tuple[str, ChannelAffine]:
        """The layer in front of a normalization that takes it in, and the scale and shift as they reach that layer."""
        affine, masked = self._affine(name), self.graph.calls[name][0].masked
        normalization, place = self._layers[name], self.graph.calls[name][0].source
        while True:
            if place is None:
                raise Obstacle("nothing is in front of it")
            layer = self._layers.get(place)
            if layer is not None and has_foldable_class(layer):
                self._require_used_once(place)
                if masked and not layer.supports_masking:
                    raise Obstacle(f"it hands on a mask, which {place!r} does not")
                _raise_first(mismatches(layer, normalization))
                return place, affine
            if layer is None or not (place in self.absorbed or is_transparent(layer)):
                kind = "" if layer is None else f" of class {type(layer).__name__}"
                raise Obstacle(f"it follows {place!r}{kind}, no convolution or dense layer")
            self._require_used_once(place)
            if place not in self.absorbed:
                affine = through(layer, self.graph.calls[place][0], affine, forward=False)
            place = self.graph.calls[place][0].source

    def _require_used_once(self, name: str) -> None:
        self._only_call(name)
        if self.graph.uses[name] > 1:
            raise Obstacle(f"{name!r} is used elsewhere too")

    def _users(self, name: str, normalization: Layer, affine: ChannelAffine) -> list[tuple[str, ChannelAffine]]:
        """The layers that take a normalization in from behind it, or behind a layer that it passes through."""
        if name in self.graph.outputs:
            raise Obstacle("it is an output" if name == normalization.name else f"{name!r} is an output")
        if self.graph.calls[normalization.name][0].masked:
            raise Obstacle("it hands on a mask")
        found = []
        for user in self.graph.users[name]:
            layer = self._layers.get(user)
            if layer is not None and has_foldable_class(layer):
                _raise_first(mismatches_ahead(layer, normalization, affine, self._only_call(user)))
                found.append((user, affine))
            elif user in self.absorbed:
                found += self._users(user, normalization, affine)
            elif layer is not None and is_transparent(layer):
                passed = through(layer, self._only_call(user), affine, forward=True)
                found += self._users(user, normalization, passed)
            else:
                kind = "" if layer is None else f" of class {type(layer).__name__}"
                raise Obstacle(f"it precedes {user!r}{kind}, no convolution or dense layer")
        return found


def _raise_first(reasons: Iterator[str]) -> None:
    """Raise the first of some reasons, if there is one."""
    for reason in reasons:
        raise Obstacle(reason)
