"""The commands train, quantize and settings: training, fine-tuning for int8, and the settings of both."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfsep.cli._app import SET_HELP, command, image_shape_of, parse_size, print_line
from tfsep.cli._calibration import (
    BudgetOption,
    CorrectBiasOption,
    EqualizeOption,
    KeepFloatOption,
    LatencyOption,
    MethodOption,
    RoundingOption,
    WeightScalesOption,
    calibrate_arguments,
    part_arguments,
    with_latency,
)
from tfsep.cli._models import CustomOption, UnsafeOption, open_model
from tfsep.cli._preparation import MeanOption, StdOption, preparation_for, standardized
from tfsep.cli._problems import Problems
from tfsep.cli._start import open_start
from tfsep.defs import NETWORKS

if TYPE_CHECKING:
    from tfsep.data import Preprocessing

DataOption = Annotated[str | None, typer.Option(help=f"{SET_HELP}; for segmentation and detection, 'fashion_scenes'.")]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="A TOML file of settings, or the config.json of a run; options go before it."),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="One more setting; may be given again.")
]
SizeOption = Annotated[
    str | None, typer.Option(help="Rows and columns that a folder's images are brought to: 224, or 224x160.")
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")]
EpochsOption = Annotated[int | None, typer.Option(help="Passes over the training images.")]
LearningRateOption = Annotated[float | None, typer.Option(help="Peak of the schedule.")]
SeedOption = Annotated[int | None, typer.Option(help="Of everything random.")]
PublishOption = Annotated[Path | None, typer.Option(help="Also put a folder to ship together here.")]


class Xla(StrEnum):
    """Whether XLA compiles the step."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class Device(StrEnum):
    """The kinds of device; `tfsep.train.join` has their meaning."""

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"


class Task(StrEnum):
    """The names of the tasks; `tfsep.train.TrainConfig` and `tfsep.train.SceneConfig` train for them."""

    CLASSIFICATION = "classification"
    SEGMENTATION = "segmentation"
    DETECTION = "detection"


TaskOption = Annotated[Task | None, typer.Option(help="What to train for; classification if nothing says otherwise.")]
XlaOption = Annotated[Xla | None, typer.Option(help="Whether XLA compiles the step; auto: on a GPU.")]


class Strategy(StrEnum):
    """The names of the strategies; `tfsep.train.join` has their meaning."""

    ONE = "one"
    MIRRORED = "mirrored"
    MULTI_WORKER = "multi-worker"


@command("train")
def train(
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; runs/fashion_mnist, or runs/ and the task, if not given.")
    ] = None,
    task: TaskOption = None,
    data: DataOption = None,
    size: SizeOption = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="A trained classifier to begin with, which gets a new head: a model of Keras, the folder of a run, or "
            "what `tfsep import` takes, of --network and --alpha. With --task, the backbone begins with its layers.",
        ),
    ] = None,
    freeze: Annotated[
        str | None, typer.Option(help="Stages of it, from the image on, that stay as they are; or all, but the head.")
    ] = None,
    stage_rate: Annotated[
        float | None,
        typer.Option(help="Learning rate of each stage against the one behind it; 1 if not given."),
    ] = None,
    mean: MeanOption = None,
    std: StdOption = None,
    custom: CustomOption = None,
    unsafe: UnsafeOption = False,
    config: ConfigOption = None,
    network: Annotated[str | None, typer.Option(help=f"{' or '.join(NETWORKS)}.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Width multiplier.")] = None,
    epochs: EpochsOption = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step.")] = None,
    learning_rate: LearningRateOption = None,
    validation: Annotated[
        float | None,
        typer.Option(help="Training images that are held out to watch the run, or their share, below 1."),
    ] = None,
    seed: SeedOption = None,
    xla: XlaOption = None,
    settings: SetOption = None,
    resume: ResumeOption = False,
    strategy: Annotated[
        Strategy, typer.Option(help="One device, all of this machine, or all of the workers in TF_CONFIG.")
    ] = Strategy.ONE,
    device: Annotated[Device, typer.Option(help="What to train on; auto: GPUs, where there are some.")] = Device.AUTO,
    timeout: Annotated[float, typer.Option(help="Seconds within which all workers have to be there.")] = 60.0,
    publish: PublishOption = None,
) -> None:
    """Train a network; stop it at any time and go on with --resume.

    Settings that have no option of their own, such as mixup or erase, are given by --config or --set; `tfsep settings`
    lists them.
    """
    from tfsep._utils.native_stderr import silence_native_stderr

    with silence_native_stderr():
        from tfsep import saved
        from tfsep import train as training
        from tfsep.data import DEFAULT

        problems = Problems()
        options = _options_given(
            task=task and task.value,
            network=network,
            alpha=alpha,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            validation=int(validation) if validation is not None and validation.is_integer() else validation,
            seed=seed,
            xla=xla and xla.value,
            freeze=int(freeze) if freeze is not None and freeze.isdecimal() else freeze,
            stage_rate=stage_rate,
        )
        with problems.collected():
            recipe = training.config_of({**_merged_settings(config, settings), **options})
        with problems.collected():
            parse_size(size or "1")
        problems.require_sources(data=data)
        problems.require_folders(folder=out, publish=publish)
        problems.tell()
        folder = out or Path("runs") / ("fashion_mnist" if recipe.task == Task.CLASSIFICATION else recipe.task)
        with training.join(strategy.value, timeout, device.value) as devices:
            # Of a head, --network and --alpha are the backbone's.
            is_classifier = recipe.task == Task.CLASSIFICATION
            own = (network, alpha, size) if is_classifier else (None, None, None)
            begun = None if start is None else open_start(start, *own, mean, std, custom, unsafe)
            shape: tuple[int | None, ...] | None = None
            if size is not None:
                shape = (*parse_size(size), 3 if is_classifier else 1)
            how = standardized(DEFAULT, mean, std)
            if begun is not None:
                begun.preparation.tell(data or "fashion_mnist")
                shape, how = begun.shape if is_classifier else shape, begun.preparation.how
            images = _open_data(recipe.task, data, shape, how)
            model = begun and begun.model
            result = training.train(recipe, images, folder, start=model, resume=resume, devices=devices)
            _print_result(result)
            if publish is not None and devices.is_chief:
                print_line(f"published in {saved.publish(result, recipe, images, publish)}")


def _open_data(
    task: str, data: str | None, shape: "tuple[int | None, ...] | None", how: "Preprocessing | None" = None
) -> Any:
    """The data set for a task."""
    from tfsep.data import open_data, open_scenes

    if task == Task.CLASSIFICATION:
        if data == "fashion_scenes":
            raise ValueError("task: expected segmentation or detection for fashion_scenes, got classification")
        return open_data(data or "fashion_mnist", shape, how)
    return open_scenes(data or "fashion_scenes", shape, how)


def _task_of(model: Any, decoding: Any) -> str:
    """What a model does, by what is recorded beside it and by its output."""
    from tfsep._keras.model_io import outputs_of

    if decoding is not None:
        return Task.DETECTION
    return Task.SEGMENTATION if len(getattr(outputs_of(model), "shape", ())) == 4 else Task.CLASSIFICATION


@command("quantize")
def quantize(
    model: Annotated[Path, typer.Argument(help="A .keras file of a float model, from images to probabilities.")],
    custom: CustomOption = None,
    unsafe: UnsafeOption = False,
    out: Annotated[Path, typer.Option(help="Folder of the run, and of the int8 file.")] = Path("runs/int8"),
    data: DataOption = None,
    size: SizeOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    config: ConfigOption = None,
    epochs: EpochsOption = None,
    learning_rate: LearningRateOption = None,
    seed: SeedOption = None,
    xla: XlaOption = None,
    settings: SetOption = None,
    resume: ResumeOption = False,
    publish: PublishOption = None,
    calibrate_only: Annotated[
        bool, typer.Option("--calibrate-only", help="Do not train: calibrate on `observe` of the training images.")
    ] = False,
    method: MethodOption = None,
    equalize: EqualizeOption = None,
    weight_scales: WeightScalesOption = None,
    rounding: RoundingOption = None,
    correct_bias: CorrectBiasOption = None,
    keep_float: KeepFloatOption = None,
    budget: BudgetOption = None,
    latency: LatencyOption = None,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="Calibrating, also rank the operations by what int8 costs each.")
    ] = False,
) -> None:
    """Fine-tune a model for int8, export it, and show that the file computes what was trained.

    What has no integer kernel stays in float32; coverage.json and coverage.md in --out list it. With --calibrate-only
    nothing is trained; calibration.json and calibration.md say what each part of the calibration gained, and with
    --sensitivity sensitivity.json, sensitivity.md and sensitivity.svg what int8 costs each operation.
    """
    from tfsep._utils.native_stderr import silence_native_stderr

    with silence_native_stderr():
        from tfsep import quantize as quantization
        from tfsep import saved
        from tfsep import train as training
        from tfsep.data import read_decoding

        options = _options_given(epochs=epochs, learning_rate=learning_rate, seed=seed, xla=xla and xla.value)
        arguments = calibrate_arguments(method and method.value, keep_float, budget, latency) or {}
        arguments |= part_arguments(equalize, correct_bias, weight_scales, rounding)
        if calibrate_only:
            _require_no_training({**options, "resume": resume, "publish": publish})
        elif arguments or sensitivity:
            names = [*arguments, *(["sensitivity"] if sensitivity else [])]
            given = " and ".join(f"--{name.replace('_', '-')}" for name in names)
            raise ValueError(f"{given}: expected --calibrate-only, got none; in training float_layers is a setting")
        problems = Problems()
        with problems.collected():
            recipe = training.QuantizeConfig.of({**_merged_settings(config, settings), **options})
        problems.require_sources(data=data)
        problems.require_folders(folder=out, publish=publish)
        with problems.collected():
            loaded = open_model(model, custom, unsafe)
        problems.tell()
        prepared, decoding = preparation_for(model, loaded, mean, std), read_decoding(model)
        images = _open_data(_task_of(loaded, decoding), data, image_shape_of(loaded, size), prepared.how)
        prepared.tell(data or images.name)
        if calibrate_only:
            made = _calibrated(loaded, recipe, images, out, arguments, decoding)
            if sensitivity:
                _rank(loaded, recipe, images, out, arguments)
        else:
            result = training.finetune(loaded, recipe, images, out, resume=resume, decoding=decoding)
            _print_result(result)
            made = result.model
        covered = quantization.coverage(made)
        print_line(str(covered))
        _write_report(covered, out, "coverage")
        print_line(str(_exported(made, images, out, decoding)))
        if publish is not None:
            print_line(f"published in {saved.publish(result, recipe, images, publish)}")


def _exported(made: Any, images: Any, out: Path, decoding: Any) -> Any:
    """Export an int8 model into its folder, verified on test images."""
    from tfsep import saved, tflite
    from tfsep.data import SceneData

    if isinstance(images, SceneData):
        return saved.export_scene_files(made, out, images, decoding, ["int8"])["int8"]
    return tflite.export(
        made,
        out / "model_int8.tflite",
        "int8",
        data=images.test.batches(),
        preprocessing=images.train.preprocessing,
        class_names=images.class_names,
    )


def _require_no_training(options: dict[str, Any]) -> None:
    """Raise for options of training beside --calibrate-only."""
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value and name != "seed"]
    if given:
        raise ValueError(f"--calibrate-only: expected no options of training, got {', '.join(given)}")


def _calibrated(model: Any, recipe: Any, images: Any, out: Path, arguments: dict[str, Any], decoding: Any) -> Any:
    """Calibrate a model on training images, and write it and the report into a folder."""
    from tfsep._utils.atomic_files import make_folder
    from tfsep.data import save_with_preprocessing
    from tfsep.quantize import CalibrationReport, calibrate

    reports: list[CalibrationReport] = []
    how = with_latency({**arguments, "runtime": recipe.quantization.runtime}, model) or {}
    prepared = calibrate(model, **_shown(recipe, images), report=reports.append, **how)
    print_line(str(reports[0]))
    folder = make_folder(out, "out")
    how, names = images.train.preprocessing, images.class_names
    save_with_preprocessing(prepared, how, folder / "model.keras", "out", names, decoding)
    _write_report(reports[0], folder, "calibration")
    return prepared


def _rank(model: Any, recipe: Any, images: Any, out: Path, arguments: dict[str, Any]) -> None:
    """Rank the operations of a model on training images, and write the ranking into a folder."""
    from tfsep import plots
    from tfsep.quantize import sensitivity

    how = {name: value for name, value in arguments.items() if name not in ("budget", "latency")}
    found = sensitivity(model, **_shown(recipe, images), **how)
    print_line(str(found))
    _write_report(found, out, "sensitivity", plots.sensitivity(found))


def _write_report(report: Any, folder: Path, name: str, figure: Any = None) -> None:
    """Write a report into a folder as JSON and Markdown, with its figure, all or none of them."""
    from tfsep._utils.atomic_files import atomic_files

    kinds = ("json", "md") if figure is None else ("json", "md", "svg")
    with atomic_files([folder / f"{name}.{kind}" for kind in kinds], "out") as (as_json, as_markdown, *as_plot):
        as_json.write_text(report.to_json(), encoding="utf-8")
        as_markdown.write_text(report.to_markdown() + "\n", encoding="utf-8")
        for path in as_plot:
            figure.savefig(path)


def _shown(recipe: Any, images: Any) -> dict[str, Any]:
    """The training images that the settings name, and the settings, as a calibration takes them."""
    shown = images.train.take(0, recipe.observe)
    return {
        "data": shown.preprocessing(shown.images()),
        "samples": recipe.observe,
        "seed": recipe.seed,
        "config": recipe.quantization,
    }


@command("settings")
def settings(
    quantize: Annotated[bool, typer.Option("--quantize", help="Those of `tfsep quantize`.")] = False,
    task: TaskOption = None,
) -> None:
    """Print the settings of `tfsep train`, or of `tfsep quantize`, as they are by default, in TOML for --config."""
    from tfsep._utils.native_stderr import silence_native_stderr

    with silence_native_stderr():
        from tfsep import train as training

        if quantize and task is not None:
            raise ValueError(f"task: expected none with --quantize, got {task.value}")
        recipe = training.QuantizeConfig() if quantize else training.config_of(_options_given(task=task))
        print(training.to_toml(recipe), end="")


def _merged_settings(config: Path | None, more: list[str] | None) -> dict[str, Any]:
    """The settings of a file, overridden by those given one by one."""
    from tfsep.train._config import parse_setting, read_config

    return {**({} if config is None else read_config(config)), **dict(map(parse_setting, more or ()))}


def _options_given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _print_result(result: Any) -> None:
    held_out = "" if result.validation_score is None else f"held-out {result.score} {result.validation_score:.4f}, "
    place = result.folder / "model.keras"
    print_line(f"{held_out}test {result.score} {result.test_score:.4f}, {result.seconds:.0f} s, {place}")
