"""Messages of the library: silent by default, by logger names of modules, printed by the command."""

import logging
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT
from typer.testing import CliRunner

from tfsep import Conv, DepthSepConv, models, saved, tflite, weights
from tfsep._utils.messages import messages_to
from tfsep.cli import app
from tfsep.importing import import_model

DEFS = [Conv(3, 2, 8), DepthSepConv(3, 1, 8)]


@pytest.fixture(scope="module")
def model():
    return models.MobileNetV1((16, 16, 3), 3, conv_defs=DEFS)


def messages(caplog):
    """Logger, level and text of each message of the library."""
    return [record for record in caplog.record_tuples if record[0].startswith("tfsep")]


def test_the_library_is_silent_by_default():
    code = "import logging, tfsep; logging.getLogger('tfsep.train').error('not configured')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_an_export_of_all_recipes_logs_each(model, tmp_path, caplog, capsys):
    x = np.zeros((2, 16, 16, 3), "float32")
    batches = [(x, np.zeros(2, "int32"))]
    with caplog.at_level(logging.INFO, "tfsep"):
        saved.export_all(model, tmp_path, None, lambda: batches, ["float32"])
    [(logger, level, text)] = messages(caplog)
    assert (logger, level) == ("tfsep.saved._saved_folder", logging.INFO)
    assert re.fullmatch(r"float32: \d+ kB, accuracy \d\.\d{4} \(model \d\.\d{4}\), \d+ of \d+ nodes delegated", text)
    assert capsys.readouterr().out == ""


def test_an_import_logs_its_decisions(model, tmp_path, caplog, capsys):
    path = tflite.export(model, tmp_path / "m.tflite").path
    with caplog.at_level(logging.INFO, "tfsep"):
        import_model(path, tmp_path / "again.keras")
    lines = [text for _, _, text in messages(caplog)]
    assert re.fullmatch(r"\S+again\.keras: [\d,]+ parameters, input \(16, 16, 3\), output \(3,\)", lines[0])
    assert lines[1] == "preprocessing: central crop 0.875, bilinear, pixel / 127.5 - 1, recorded in again.json"
    assert capsys.readouterr().out == ""
    done = CliRunner().invoke(app, ["import", str(path), "--out", str(tmp_path / "again.keras")])
    assert done.stdout.splitlines() == lines


@pytest.fixture(scope="module")
def checkpoint(model, tmp_path_factory):
    prefix = tmp_path_factory.mktemp("checkpoint") / "model.ckpt"
    variables = {name: np.asarray(value) for name, value in weights.slim_variables(model).items()}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in variables.items():
            tf.compat.v1.get_variable(name, initializer=value)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(prefix))
    return prefix


def test_a_checkpoint_logs_what_was_decided_or_tells_the_function_given(model, checkpoint, caplog, capsys):
    lines = []
    with caplog.at_level(logging.INFO, "tfsep"):
        weights.load_slim_checkpoint(model, checkpoint)
        weights.load_slim_checkpoint(model, checkpoint, log=lines.append)
    [(logger, _, text)] = messages(caplog)
    assert logger == "tfsep.weights._slim_checkpoint"
    assert lines == [text]
    assert text.endswith("padding same, which is the model's own")
    assert capsys.readouterr().out == ""


def test_messages_are_handed_over_for_a_while():
    lines, logger = [], logging.getLogger("tfsep")
    handlers, level = list(logger.handlers), logger.level
    with messages_to(lines.append):
        logging.getLogger("tfsep.train").info("100 % of it")
        logging.getLogger("tfsep.train").debug("a detail")
    logging.getLogger("tfsep.train").info("later")
    assert lines == ["100 % of it"]
    assert (logger.handlers, logger.level) == (handlers, level)


def test_an_error_of_the_receiver_is_the_callers():
    def closed(line):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError), messages_to(closed):
        logging.getLogger("tfsep").info("to a pipe that nobody reads")


def test_a_message_handed_over_is_not_printed_again_by_the_root_logger(caplog):
    lines = []
    with messages_to(lines.append):
        logging.getLogger("tfsep.train").info("epoch 1/3")
    assert (lines, messages(caplog)) == (["epoch 1/3"], [])
    assert logging.getLogger("tfsep").propagate
