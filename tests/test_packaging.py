"""The package as it is built and installed: metadata, the page of an index, shell completion, a bare environment."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from conftest import ROOT
from typer.testing import CliRunner

from tfsep._utils import installed
from tfsep._utils.installed import install_command, version_of
from tfsep.cli import app

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def names(requirements):
    return {re.split(r"[<>=\[; ]", requirement)[0] for requirement in requirements}


def test_the_core_needs_no_tensorflow():
    core = names(PROJECT["dependencies"])
    assert core == {"ai-edge-litert", "flatbuffers", "numpy", "pillow", "rich", "typer"}
    assert names(EXTRAS["tf"]) == {"tfsep", "tensorflow"}
    assert names(EXTRAS["tf-cpu"]) == {"tfsep", "tensorflow-cpu"}
    assert "tensorflow" not in names(EXTRAS["keras"]) | names(EXTRAS["plots"])
    assert "tf" in next(each for each in EXTRAS["dev"] if each.startswith("tfsep["))


def test_versions_are_ranges_and_wheels_of_one_system_have_a_marker():
    for requirement in (*PROJECT["dependencies"], *(each for extra in EXTRAS.values() for each in extra)):
        if not requirement.startswith(("tfsep[", "tflite-micro")):
            assert re.search(r">=[\d.]+,<[\d.]+", requirement), requirement
    (micro,) = EXTRAS["micro"]
    assert micro.endswith("; sys_platform == 'linux' and platform_machine == 'x86_64'")


@pytest.fixture
def metadata(monkeypatch):
    """Let the installed package have these requirements; None for a package that is not installed."""

    def become(lines):
        def requires(name):
            assert name == "tfsep"
            if lines is None:
                raise installed.PackageNotFoundError
            return lines

        monkeypatch.setattr(installed, "requires", requires)

    return become


def test_hints_name_packages_that_can_be_installed_from_anywhere(metadata):
    lines = [
        "numpy<3,>=1.26",
        "tflite-micro>=0.dev1; (sys_platform == 'linux') and extra == 'micro'",
        'keras<3.17,>=3.12; extra == "tf"',
        "tensorflow<2.24,>=2.19; extra == 'tf'",
        "tensorflow-cpu<2.24,>=2.19; extra == 'tf-cpu'",
    ]
    metadata(lines)
    assert install_command("tf") == "pip install 'keras<3.17,>=3.12' 'tensorflow<2.24,>=2.19'"
    assert install_command("micro") == "pip install 'tflite-micro>=0.dev1'"
    for lacking in (None, lines[:1]):
        metadata(lacking)
        assert install_command("tf") == f"pip install '{ROOT}[tf]'", "a checkout that is not installed"


def test_versions_are_those_of_modules(monkeypatch):
    """`tensorflow-cpu` and `tf-nightly` bring the same module, and no package named `tensorflow`."""
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(__version__="2.23.0-dev20261026"))
    assert version_of("tensorflow") == "2.23.0-dev20261026"
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tfsep").rglob("*.py")]
    asked = {name for text in sources for name in re.findall(r"[^_]version\(['\"]([\w-]+)['\"]\)", text)}
    assert asked <= {"tflite-micro"}


def index_page(monkeypatch):
    """The function of the build's hook, without hatchling."""
    plugin = ModuleType("hatchling.metadata.plugin.interface")
    plugin.MetadataHookInterface = object
    for name in ("hatchling", "hatchling.metadata", "hatchling.metadata.plugin"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, plugin.__name__, plugin)
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.index_page


def test_the_page_of_an_index_has_no_relative_link(monkeypatch):
    page = index_page(monkeypatch)
    assert page("![a b](docs/a.png) [c](d.md#e) [f](https://g.org/h)") == "*a b* c [f](https://g.org/h)"
    text = page((ROOT / "README.md").read_text(encoding="utf-8"))
    assert not re.search(r"\]\((?!https?:)", text)
    assert "make demo" in text


def test_shells_complete_commands():
    runner = CliRunner()
    environment = {"_TFSEP_COMPLETE": "complete_bash", "COMP_WORDS": "tfsep ins", "COMP_CWORD": "1"}
    done = runner.invoke(app, [], prog_name="tfsep", env=environment)
    assert done.output.split() == ["inspect"]
    assert "--install-completion" in runner.invoke(app, ["--help"], env={"COLUMNS": "120"}).output


@pytest.mark.slow
def test_what_is_built(tmp_path):
    """Twice the same bytes, a wheel of at most 8 MB, metadata that an index takes, and commands without TensorFlow."""
    pytest.importorskip("build", reason="needs the extra package")
    pytest.importorskip("twine", reason="needs the extra package")
    made = []
    for name in ("one", "other"):
        subprocess.run([sys.executable, "-m", "build", "--outdir", tmp_path / name, ROOT], check=True)
        made.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert made[0] == made[1]
    files = sorted((tmp_path / "one").iterdir())
    assert [file.suffix for file in files] == [".whl", ".gz"]
    assert files[0].stat().st_size <= 8_000_000
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files], check=True)

    subprocess.run([sys.executable, "-m", "venv", tmp_path / "bare"], check=True)
    binaries = tmp_path / "bare" / ("Scripts" if os.name == "nt" else "bin")
    for file in files:
        subprocess.run([binaries / "python", "-m", "pip", "install", "--quiet", "--force-reinstall", file], check=True)
        command = "import tfsep; print(next(tfsep.__path__.__iter__()))"
        where = subprocess.run(
            [binaries / "python", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.strip()
        model = Path(where, "_saved_models", "fashion_mnist", "model_int8.tflite")
        for arguments in (["--version"], ["inspect", model], ["bench", model, "--runs", "3"], ["cost", model]):
            subprocess.run([binaries / "tfsep", *arguments], cwd=tmp_path, check=True)
        done = subprocess.run([binaries / "tfsep", "demo"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "pip install 'keras<3.17,>=3.12' 'matplotlib" in done.stderr
