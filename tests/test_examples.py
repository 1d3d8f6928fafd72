"""The worked examples: the numbers of the textbook, from the library and not from the text; the README runs."""

import contextlib
import io

import numpy as np
import pytest
from checks import assert_sentence
from conftest import ROOT
from matplotlib.figure import Figure

from tfsep import examples


def test_worked_example():
    steps = {step.title: step for step in examples.worked_example()}
    values = {title: step.value.tolist() for title, step in steps.items()}
    assert values["image, channel 0"] == [[1, 2, 3, 4]] * 4
    assert values["image, channel 1"] == [[1, 1, 1, 1]] * 4
    assert values["conv2d, output channel 0"] == [[9, 9], [9, 9]]
    assert values["conv2d, output channel 1"] == [[63, 81], [63, 81]]
    depthwise = np.stack(
        [step.value for title, step in steps.items() if title.startswith("depthwise_conv2d, channel")], -1
    )
    assert depthwise[0].tolist() == [[0, 36, 9, 27], [0, 54, 9, 27]]
    ends = [step for step in steps.values() if step.shape == (1, 2, 2, 1)]
    assert len(ends) == 4
    assert all(step.value.tolist() == [[72, 90], [72, 90]] for step in ends)


def test_the_numbers_are_computed(monkeypatch):
    """With another image, other numbers come out: nothing is typed in."""
    monkeypatch.setattr(examples, "IMAGE", 2 * examples.IMAGE)
    assert examples.worked_example()[-1].value.tolist() == [[144, 180], [144, 180]]


def test_parameters():
    reports = list(examples.parameter_examples().values())
    assert [report.params for report in reports] == [6912, 795, 1184, 704]
    assert [row.params for row in reports[-1].rows] == [160, 544]
    assert [row.output_shape for row in reports[-1].rows] == [(64, 64, 16), (64, 64, 32)]


def test_groups():
    values, params = examples.grouped_example()
    assert values.tolist() == [3, 7, 11, 15, 19, 23, 27, 31]
    assert params == 16


def test_reduction_is_the_formula():
    rows = examples.reduction()
    for row in rows:
        assert row.ratio == pytest.approx(row.formula, rel=1e-12)
        filters = int(512 * row.alpha)
        assert row.separable == 14 * 14 * filters * (9 + filters)
    assert rows[0].of_full_width == 1


def test_a_grid_shows_its_numbers():
    axes = Figure().subplots()
    examples.draw_grid(axes, np.array([[1, np.nan], [20, -0.5], [3, 4]]), "a matrix", "output", "input")
    places = {text.get_position(): text.get_text() for text in axes.texts}
    assert places == {(0.5, 0.5): "1", (0.5, 1.5): "20", (1.5, 1.5): "-0.5", (0.5, 2.5): "3", (1.5, 2.5): "4"}
    assert (axes.get_title(), axes.get_ylabel(), axes.get_xlabel()) == ("a matrix", "output", "input")
    assert axes.yaxis_inverted()


@pytest.mark.parametrize("values", [np.ones(3), np.full((2, 2), np.nan), np.ones((0, 2))], ids=str)
def test_a_grid_without_numbers(values):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        examples.draw_grid(Figure().subplots(), values, "none")
    assert_sentence(error.value, "values")


def python_blocks():
    text = (ROOT / "README.md").read_text()
    return [block.split("```")[0] for block in text.split("```python\n")[1:]]


def test_the_readme_runs(tmp_path, monkeypatch, fixtures_or_none):
    """Every block of Python in the README, in order, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    blocks = python_blocks()
    assert len(blocks) == 5
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        for block in blocks:
            if "model.ckpt" not in block:
                exec(compile(block, "README.md", "exec"), {})
            elif fixtures_or_none is not None:
                checkpoint = fixtures_or_none / "slim_mobilenet_v1_025_128" / "model.ckpt"
                exec(compile(block.replace("model.ckpt", str(checkpoint)), "README.md", "exec"), {})
    assert "delegated to XNNPACK" in printed.getvalue()
    assert (tmp_path / "model.json").is_file()
