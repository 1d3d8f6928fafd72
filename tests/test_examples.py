"""The worked examples have the textbook's numbers, from the library and not from the text; the pages' examples run."""

import contextlib
import importlib
import io
import re

import numpy as np
import pytest
from checks import assert_sentence
from conftest import ROOT
from matplotlib.figure import Figure

import tfsep
from tfsep import examples

GUIDES = ROOT / "docs" / "guides"


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


def test_worked_example_is_computed(monkeypatch):
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


def test_reduction_equals_the_formula():
    rows = examples.reduction()
    for row in rows:
        assert row.ratio == pytest.approx(row.formula, rel=1e-12)
        filters = int(512 * row.alpha)
        assert row.separable == 14 * 14 * filters * (9 + filters)
    assert rows[0].of_full_width == 1


def test_drawn_grid_shows_its_numbers():
    axes = Figure().subplots()
    examples.draw_grid(axes, np.array([[1, np.nan], [20, -0.5], [3, 4]]), "a matrix", "output", "input")
    places = {text.get_position(): text.get_text() for text in axes.texts}
    assert places == {(0.5, 0.5): "1", (0.5, 1.5): "20", (1.5, 1.5): "-0.5", (0.5, 2.5): "3", (1.5, 2.5): "4"}
    assert (axes.get_title(), axes.get_ylabel(), axes.get_xlabel()) == ("a matrix", "output", "input")
    assert axes.yaxis_inverted()


@pytest.mark.parametrize("values", [np.ones(3), np.full((2, 2), np.nan), np.ones((0, 2))], ids=str)
def test_grid_without_numbers_is_refused(values):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        examples.draw_grid(Figure().subplots(), values, "none")
    assert_sentence(error.value, "values")


PAGES = ["README.md", "docs/index.md", *(f"docs/guides/{path.name}" for path in sorted(GUIDES.glob("*.md")))]


def python_blocks(page):
    text = (ROOT / page).read_text()
    return [block.split("```")[0] for block in text.split("```python\n")[1:]]


def test_the_guides_have_examples():
    assert {"docs/guides/export.md", "docs/guides/quantization.md"} <= set(PAGES)
    assert sum(len(python_blocks(page)) for page in PAGES) >= 12


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)])
def test_the_examples_of_a_page_run(page, tmp_path, monkeypatch, fixtures_or_none):
    """Every block of Python of a page, in order, each on its own, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for block in python_blocks(page):
            if "model.ckpt" not in block:
                exec(compile(block, page, "exec"), {})
            elif fixtures_or_none is not None:
                checkpoint = fixtures_or_none / "slim_mobilenet_v1_025_128" / "model.ckpt"
                exec(compile(block.replace("model.ckpt", str(checkpoint)), page, "exec"), {})
    for file in re.findall(r'export\(\w+, "(\w+\.tflite)"', "".join(python_blocks(page))):
        assert (tmp_path / file).with_suffix(".json").is_file()
        assert "delegated to XNNPACK" in printed.getvalue()


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().split()) <= 1000


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/design.md"])
def test_files_that_a_page_names_exist(page):
    text = (ROOT / page).read_text()
    paths = re.findall(r"`((?:tfsep|tests|docs|notebooks|benchmarks)/[\w./-]*)`", text)
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md", "docs/design.md", "docs/tutorials/index.md"])
def test_links_of_a_page_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text())
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []


SUBPACKAGES = "|".join(name for name in tfsep.__all__ if name.islower() and name.isidentifier())
MENTIONED = re.compile(rf"`(?:tfsep\.)?({SUBPACKAGES})\.(?!json`)([A-Za-z_]\w*)")


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md", "docs/design.md"])
def test_names_that_a_page_mentions_are_public(page):
    for subpackage, name in MENTIONED.findall((ROOT / page).read_text()):
        module = importlib.import_module(f"tfsep.{subpackage}")
        assert name in getattr(module, "__all__", dir(module))
