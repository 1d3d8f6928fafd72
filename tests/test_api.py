"""The public API as its documentation shows it: every parameter has its own entry, and a type that says something."""

import dataclasses
import importlib
import inspect
import re
import types
from typing import Any, NamedTuple

import pytest

import tfsep

SUBPACKAGES = sorted(name for name in tfsep.__all__ if isinstance(getattr(tfsep, name), types.ModuleType))

LARGEST_SHARE_OF_ANY = 0.12
TYPED = ["ops", "layers", "models", "quantize", "tflite"]

# Keras calls these; their parameters are those of `keras.layers.Layer`.
KERAS_METHODS = {"call", "build", "compute_output_shape", "get_config", "from_config"}


class Callable(NamedTuple):
    """A public function or method, or a class by its constructor, and the docstring of its parameters."""

    name: str
    parameters: list[inspect.Parameter]
    doc: str

    @property
    def is_method(self):
        return self.name.count(".") > 1


def callable_of(name, function, documented):
    signature = inspect.signature(function)
    parameters = [each for each in signature.parameters.values() if each.name not in ("self", "cls")]
    return Callable(name, parameters, inspect.getdoc(documented) or "")


def public(name):
    """Public objects of a subpackage by name; those of other libraries left aside."""
    module = importlib.import_module(f"tfsep.{name}")
    own = [n for n, t in vars(module).items() if n[0] != "_" and getattr(t, "__module__", None) == module.__name__]
    things = {symbol: getattr(module, symbol) for symbol in getattr(module, "__all__", own)}
    return {n: t for n, t in things.items() if getattr(t, "__module__", "").startswith("tfsep")}


def callables(name):
    """Public functions, constructors and methods of a subpackage."""
    for symbol, thing in public(name).items():
        if inspect.isfunction(thing):
            yield callable_of(f"{name}.{symbol}", thing, thing)
        elif inspect.isclass(thing):
            if "__init__" in vars(thing) and not dataclasses.is_dataclass(thing):
                yield callable_of(f"{name}.{symbol}", thing.__init__, thing)
            for method, value in vars(thing).items():
                function = getattr(value, "__func__", value)
                if method[0] != "_" and method not in KERAS_METHODS and inspect.isfunction(function):
                    yield callable_of(f"{name}.{symbol}.{method}", function, function)


def record_fields(record):
    """Names of the public fields of a dataclass or named tuple, inherited ones too; none of another class."""
    names = [each.name for each in dataclasses.fields(record)] if dataclasses.is_dataclass(record) else []
    return [name for name in (*names, *getattr(record, "_fields", ())) if name[0] != "_"]


def undocumented_fields(record):
    documented, _ = entries(inspect.cleandoc(record.__doc__ or ""))  # `getdoc` would take a base's
    return [name for name in record_fields(record) if name not in documented]


def entries(doc):
    """Names with an entry of their own under `Args:` or `Attributes:`, and the text of all entries."""
    section = re.search(r"^(?:Args|Attributes):\n((?:[ \t]+.*\n|\n)*)", doc + "\n", re.M)
    if not section:
        return set(), ""
    indent = re.match(r"\s*", section[1])[0]
    return set(re.findall(rf"^{indent}\*{{0,2}}(\w+)(?: \(.*?\))?:", section[1], re.M)), section[1]


def undocumented(subject):
    names = [each.name for each in subject.parameters]
    if subject.is_method and len(names) == 1:  # its summary says what it is
        return []
    documented, _ = entries(subject.doc)
    return [name for name in names if name not in documented and name != "kwargs"]


def refers_elsewhere(subject):
    return re.findall(r"\bas in `\S+|\bas `\w+`(?= (?:takes|has)|\.)|\bas \w+ in `\S+", entries(subject.doc)[1])


@pytest.mark.parametrize("name", SUBPACKAGES)
def test_every_parameter_is_documented(name):
    lacking = {each.name: undocumented(each) for each in callables(name)}
    assert not {name: parameters for name, parameters in lacking.items() if parameters}


@pytest.mark.parametrize("name", SUBPACKAGES)
def test_every_field_of_a_record_is_documented(name):
    lacking = {each.__name__: undocumented_fields(each) for each in public(name).values() if inspect.isclass(each)}
    assert not {name: fields for name, fields in lacking.items() if fields}


@pytest.mark.parametrize("name", SUBPACKAGES)
def test_no_entry_sends_its_reader_elsewhere(name):
    chains = {each.name: refers_elsewhere(each) for each in callables(name)}
    assert not {name: found for name, found in chains.items() if found}


def test_parameters_have_types():
    annotations = [each.annotation for name in TYPED for found in callables(name) for each in found.parameters]
    assert len(annotations) > 300
    share = sum(each in (Any, inspect.Parameter.empty) for each in annotations) / len(annotations)
    assert share < LARGEST_SHARE_OF_ANY, f"{share:.1%} of the parameters are Any"


def test_checks_find_mistakes():
    def documented(one, two, **kwargs):
        """Do it.

        Args:
            one: text,
                in two lines.
            two: text.
        """

    def grouped(one, two):
        """Do it.

        Args:
            one, two: as in `other`.
        """

    good, bad = (callable_of(f"x.{each.__name__}", each, each) for each in (documented, grouped))
    assert not undocumented(good)
    assert not refers_elsewhere(good)
    assert undocumented(bad) == ["one", "two"]
    assert refers_elsewhere(bad)


def test_record_check_finds_mistakes():
    @dataclasses.dataclass
    class Documented:
        """A record.

        Attributes:
            one: text.
        """

        one: int

    @dataclasses.dataclass
    class Inheriting(Documented):
        """A record of more.

        Attributes:
            two: text.
        """

        two: int
        three: int

    class Silent(Documented):
        pass

    class Pair(NamedTuple):
        """Two of them; one: first, two: second."""

        one: int
        two: int

    assert not undocumented_fields(Documented)
    assert undocumented_fields(Inheriting) == ["one", "three"]
    assert undocumented_fields(Silent) == ["one"]
    assert undocumented_fields(Pair) == ["one", "two"]
