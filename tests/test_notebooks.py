"""The notebooks: each one runs, prints what it stores, and stores a picture for every plot that it draws."""

import base64
import contextlib
import io
import json

import matplotlib as mpl
import pytest
from conftest import ROOT

mpl.use("Agg")
import matplotlib.pyplot as plt

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LONG = {"04_the_family", "06_train_export_verify", "10_int8_without_training"}
"""Notebooks for slow runs: other tests count, train, export, calibrate and verify in a quick one."""
COURSE = {
    "01_worked_example",
    "02_counting",
    "03_groups",
    "04_the_family",
    "05_mobilenet_v1",
    "06_train_export_verify",
    "07_the_family",
}


def run(path):
    """Run a notebook's code cells here, in order and in one namespace.

    Asserts that every cell was run when the notebook was stored, that it prints now the text that is stored, and makes
    as many figures, which can be drawn, as pictures are stored; and that nothing else is stored.

    Returns:
        The number of characters printed, and of figures drawn.
    """
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), "cells that were not run"
    namespace, characters, figures = {"__name__": "__main__"}, 0, 0
    for cell in cells:
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile("".join(cell["source"]), path.name, "exec"), namespace)
            drawn = plt.get_fignums()
            for number in drawn:
                plt.figure(number).canvas.draw()
        finally:
            plt.close("all")
        text, pictures = stored(cell["outputs"])
        assert printed.getvalue() == text
        assert len(drawn) == len(pictures), f"{len(drawn)} figures, {len(pictures)} stored: {cell['source']}"
        characters, figures = characters + len(text), figures + len(drawn)
    return characters, figures


def stored(outputs):
    """The text and the pictures, as bytes, that a cell's outputs hold; an output of another kind fails."""
    text, pictures = "", []
    for output in outputs:
        if output["output_type"] == "stream":
            assert output["name"] == "stdout"
            text += "".join(output["text"])
        else:
            assert output["output_type"] == "display_data", output["output_type"]
            pictures.append(base64.b64decode(output["data"]["image/png"]))
    assert all(picture.startswith(b"\x89PNG\r\n") for picture in pictures)
    return text, pictures


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=pytest.mark.slow if path.stem in LONG else (), id=path.stem) for path in NOTEBOOKS],
)
def test_notebook_reproduces_its_stored_outputs(path):
    characters, figures = run(path)
    assert characters > 100
    assert figures > 0


def test_course_is_complete_and_ordered():
    names = [path.stem for path in NOTEBOOKS]
    assert set(names) >= COURSE
    numbers = [int(name[:2]) for name in names]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=pytest.mark.slow if path.stem in LONG else (), id=path.stem) for path in NOTEBOOKS],
)
def test_notebook_is_small_and_names_no_machine_path(path):
    text = path.read_text()
    assert len(text) < 400_000
    assert not any(word in text for word in ("/home/", "/root/", "/work/", "/tmp/"))
    notebook = json.loads(text)
    assert set(notebook["metadata"]) == {"kernelspec"}
    assert all(cell["metadata"] == {} for cell in notebook["cells"])
    assert notebook["cells"][0]["source"][0].startswith("# ")


PLOT = "import matplotlib.pyplot as plt\nfigure, axes = plt.subplots()"
PICTURE = {"output_type": "display_data", "data": {"image/png": base64.b64encode(b"\x89PNG\r\n").decode()}}


def printed(text):
    return {"output_type": "stream", "name": "stdout", "text": [text]}


def cell(source, *outputs, count=1):
    return {"cell_type": "code", "source": [source], "outputs": list(outputs), "execution_count": count}


def written(folder, *cells):
    path = folder / "made.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    return path


def test_matching_notebook_passes(tmp_path):
    cells = cell("x = 72\nprint(x)", printed("72\n")), cell(f"print(x)\n{PLOT}", printed("72\n"), PICTURE, count=2)
    assert run(written(tmp_path, *cells)) == (6, 1)


WRONG = {
    "other text": cell("print(72)", printed("90\n")),
    "no text": cell("print(72)"),
    "text of nothing": cell("x = 72", printed("72\n")),
    "no picture": cell(PLOT),
    "a picture of nothing": cell("x = 72", PICTURE),
    "one picture of two": cell(f"{PLOT}\n{PLOT}", PICTURE),
    "no PNG": cell(PLOT, {"output_type": "display_data", "data": {"image/png": "AAAA"}}),
    "a value echoed": cell("72", {"output_type": "execute_result", "data": {"text/plain": ["72"]}}),
    "an error kept": cell("x = 72", {"output_type": "error", "ename": "ValueError"}),
    "standard error": cell("x = 72", {"output_type": "stream", "name": "stderr", "text": ["log"]}),
    "never run": cell("print(72)", printed("72\n"), count=None),
    "run twice": cell("print(72)", printed("72\n"), count=2),
}


@pytest.mark.parametrize("case", WRONG)
def test_differing_notebook_fails(case, tmp_path):
    path = written(tmp_path, WRONG[case])
    with pytest.raises(AssertionError):
        run(path)
    assert not plt.get_fignums()


RAISING = {
    "a cell": (ZeroDivisionError, cell(f"{PLOT}\n1 / 0")),
    "a figure when it is drawn": (ValueError, cell(f"{PLOT}\naxes.set_title('$a_$')", PICTURE)),
    "a warning": (UserWarning, cell("import warnings\nwarnings.warn('careful')")),
}


@pytest.mark.parametrize("case", RAISING)
def test_raising_notebook_fails(case, tmp_path):
    kind, made = RAISING[case]
    path = written(tmp_path, made)
    with pytest.raises(kind):
        run(path)
    assert not plt.get_fignums()
