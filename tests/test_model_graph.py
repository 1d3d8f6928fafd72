"""The walk through a Keras model's calls, and the views of it."""

import keras
import pytest
from keras import layers as L

from tfsep._keras.model_graph import Graph, call_of, calls_behind, leaf_layers, plain_model


def names(tensors, **options):
    return [call.operation.name for call in calls_behind(tensors, **options)]


def test_sources_come_before_users_in_the_order_of_the_arguments():
    x = keras.Input((4,), name="x")
    left, right = L.Dense(4, name="left")(x), L.Dense(4, name="right")(x)
    assert names([L.Add(name="sum")([right, left])]) == ["x", "right", "left", "sum"]


def test_a_shared_layer_is_a_call_each_time_and_a_shared_result_one():
    x = keras.Input((4,), name="x")
    shared = L.Dense(4, name="shared")
    once = shared(x)
    model = keras.Model(x, L.Add(name="sum")([once, shared(once), once]))
    assert names(model.outputs) == ["x", "shared", "shared", "sum"]
    graph = Graph.of(model)
    assert [call.source for call in graph.calls["shared"]] == [None, "shared"]
    assert graph.uses == {"x": 1, "shared": 4, "sum": 1}


def test_several_inputs_and_outputs():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    first = L.Add(name="first")([a, b])
    second = L.ReLU(name="second")(first)
    model = keras.Model([a, b], {"x": second, "y": first})
    assert sorted(names(model.outputs)) == ["a", "b", "first", "second"]
    assert Graph.of(model).outputs == {"first", "second"}
    assert Graph.of(model).uses["first"] == 2


def test_an_operation_with_several_results_is_one_call():
    x = keras.Input((4,), name="x")
    left, right = keras.ops.split(x, 2, axis=1)
    calls = list(calls_behind([right, left]))
    assert len(calls) == 2
    assert [len(call.outputs) for call in calls] == [1, 2]


def test_a_nested_model_is_one_call_and_its_layers_are_listed():
    inner = keras.Sequential([keras.Input((4,)), L.Dense(4, name="deep")], name="inner")
    middle = keras.Sequential([keras.Input((4,)), inner, L.ReLU(name="shallow")], name="middle")
    x = keras.Input((4,), name="x")
    model = keras.Model(x, inner(middle(x)))
    assert names(model.outputs) == ["x", "middle", "inner"]
    assert names(inner.outputs)[1:] == ["deep"]
    assert [layer.name for layer in leaf_layers(model)] == ["x", "deep", "shallow"]


def test_the_walk_ends_where_it_is_told():
    x = keras.Input((4,), name="x")
    known = L.Dense(4, name="known")(x)
    end = L.Dense(4, name="end")(L.Add(name="sum")([known, L.ReLU(name="own")(x)]))
    assert names([end], stop=lambda tensor: tensor is known) == ["x", "own", "sum", "end"]
    assert names([known], stop=lambda tensor: tensor is known) == []


def test_a_tensor_outside_any_graph():
    tensor = keras.KerasTensor((None, 4))
    assert call_of(tensor) is None
    assert names([tensor]) == []


def test_three_thousand_layers_without_recursion():
    x = keras.Input((4,), name="x")
    y = x
    for number in range(3000):
        y = L.ReLU(name=f"relu_{number}")(y)
    assert names([y]) == ["x", *(f"relu_{number}" for number in range(3000))]


def test_joins_are_walked_once():
    y = keras.Input((4,))
    for _ in range(60):  # of which 2⁶⁰ paths lead back
        y = L.Add()([L.ReLU()(y), y])
    assert len(names([y])) == 121


def test_a_sequential_model_that_was_not_built():
    with pytest.raises(ValueError, match="expected one that was built"):
        plain_model(keras.Sequential([L.Dense(2)]))
