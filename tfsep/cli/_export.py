"""The commands export, verify and convert: a Keras model as a .tflite file, proven to compute the same."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfsep.cli._app import (
    DATA_HELP,
    IO_HELP,
    RECIPE_HELP,
    SAMPLES_HELP,
    STRICT_HELP,
    TARGET_HELP,
    TOLERANCE_HELP,
    class_count,
    command,
    input_shapes_of,
    open_samples,
    parse_size,
    parse_targets,
    parse_thread_counts,
    print_line,
)
from tfsep.cli._calibration import (
    BudgetOption,
    CalibrateOption,
    KeepFloatOption,
    LatencyOption,
    RuntimeOption,
    calibrate_arguments,
    with_latency,
)
from tfsep.cli._models import MODEL_HELP, CustomOption, UnsafeOption, open_model
from tfsep.cli._preparation import MeanOption, StdOption, preparation_for
from tfsep.cli._problems import Problems
from tfsep.defs import NETWORKS

if TYPE_CHECKING:
    from tfsep._keras.types import Model

SizeOption = Annotated[str | None, typer.Option(help="Rows and columns that the model leaves open: 224, or 224x160.")]


@command("export")
def export(
    model: Annotated[
        Path, typer.Argument(help=f"{MODEL_HELP} Or the name of a network, with new weights: {', '.join(NETWORKS)}.")
    ],
    out: Annotated[Path | None, typer.Option(help="The .tflite file; beside the model where not given.")] = None,
    recipe: Annotated[
        str | None, typer.Option(help=f"{RECIPE_HELP} float32 if not given, int8 with --calibrate.")
    ] = None,
    calibration: Annotated[str | None, typer.Option(help=f"For integers: {DATA_HELP}")] = None,
    calibrate: CalibrateOption = None,
    keep_float: KeepFloatOption = None,
    budget: BudgetOption = None,
    latency: LatencyOption = None,
    runtime: RuntimeOption = None,
    data: Annotated[str | None, typer.Option(help=f"To verify the file on: {DATA_HELP}")] = None,
    samples: Annotated[int | None, typer.Option(min=1, help=SAMPLES_HELP)] = None,
    mean: MeanOption = None,
    std: StdOption = None,
    size: SizeOption = None,
    alpha: Annotated[float | None, typer.Option(help="Width multiplier of a network by name.")] = None,
    classes: Annotated[int | None, typer.Option(help="Its number of classes; 1000 if not given.")] = None,
    io: Annotated[str | None, typer.Option(help=IO_HELP)] = None,
    tolerance: Annotated[float | None, typer.Option(help=TOLERANCE_HELP)] = None,
    allow_flex: Annotated[bool, typer.Option("--allow-flex", help="Allow operators that need TensorFlow.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help=STRICT_HELP)] = False,
    custom: CustomOption = None,
    unsafe: UnsafeOption = False,
) -> None:
    """Export a model, verify the file against it, and keep the file only if it computes the same.

    Beside the file of a detector stands one that returns objects, by the anchors recorded beside the model.
    """
    from tfsep._utils.native_stderr import silence_native_stderr

    with silence_native_stderr():
        from tfsep import tflite
        from tfsep._utils.atomic_files import require_place
        from tfsep.data import read_class_names, read_decoding
        from tfsep.saved._scene_files import export_objects
        from tfsep.tflite._recipes import get_recipe

        given = calibrate_arguments(calibrate, keep_float, budget, latency, runtime)
        recipe = recipe or ("float32" if given is None else "int8")
        problems = Problems()
        with problems.collected():
            get_recipe(recipe).with_io(io)
        with problems.collected():
            require_place(out or model, "path")
        problems.require_sources(calibration=calibration, data=data)
        with problems.collected():
            loaded, size = _named_or_loaded(model, alpha, classes, size, custom, unsafe)
        problems.tell()
        arguments = _opened(model, loaded, recipe, calibration, data, samples, mean, std, size)
        path = out or model.with_name(f"{model.stem}_{recipe}.tflite")
        report = tflite.export(
            **arguments,
            path=path,
            calibrate=with_latency(given, loaded, arguments["input_shape"]),
            io=io,
            tolerance=tolerance,
            class_names=_class_names(model, (data, calibration), class_count(loaded)) or (),
            allow_flex=allow_flex,
            strict=strict,
        )
        print(report)
        if str(model) not in NETWORKS and (decoding := read_decoding(model)) is not None:
            print(export_objects(path, decoding, read_class_names(model), arguments["preprocessing"]))


@command("verify")
def verify(
    model: Annotated[Path, typer.Argument(help=f"{MODEL_HELP} Or a .tflite file, with outputs in place of a model.")],
    file: Annotated[Path, typer.Argument(help="A .tflite file. Or, for outputs, an .npz file of x and y.")],
    data: Annotated[str | None, typer.Option(help=DATA_HELP)] = None,
    tolerance: Annotated[float | None, typer.Option(help=TOLERANCE_HELP)] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Most samples to verify on; all if not given.")] = None,
    mean: MeanOption = None,
    std: StdOption = None,
    weights: Annotated[bool, typer.Option(help="Compare the stored weights and each operator too.")] = True,
    strict: Annotated[bool, typer.Option("--strict", help=STRICT_HELP)] = False,
    custom: CustomOption = None,
    unsafe: UnsafeOption = False,
) -> None:
    """Run a file beside its model and compare; exit with 1 if outputs, weights or operators differ.

    Without the model: tfsep verify FILE.tflite OUTPUTS.npz compares with stored outputs, and needs no TensorFlow.
    """
    from tfsep._utils.native_stderr import silence_native_stderr

    with silence_native_stderr():
        from tfsep import tflite

        if model.suffix == ".tflite":
            for name, value in (("data", data), ("samples", samples), ("mean", mean), ("std", std)):
                if value is not None:
                    raise ValueError(f"{name}: expected none with the outputs in {file}, got {value}")
            print(tflite.verify_reference(model, file, tolerance=tolerance, strict=strict))
            return
        if data is None:
            raise ValueError("data: expected a set or a file to verify on, got none")
        loaded = open_model(model, custom, unsafe)
        prepared = preparation_for(model, loaded, mean, std)
        prepared.tell(data)
        inputs = tflite.inspect(file).role("input")
        shape = inputs[0].shape[1:] if len(inputs) == 1 else None
        given = open_samples("data", data, loaded, shape, "test", samples, prepared.how)
        print(tflite.verify(loaded, file, given, tolerance=tolerance, weights=weights, strict=strict))


@command("convert")
def convert(
    model: Annotated[Path, typer.Argument(help=MODEL_HELP)],
    out: Annotated[Path, typer.Option(help="Folder for the files.")],
    recipe: Annotated[str, typer.Option(help=RECIPE_HELP)] = "int8",
    calibration: Annotated[str | None, typer.Option(help=f"For integers: {DATA_HELP}")] = None,
    calibrate: CalibrateOption = None,
    keep_float: KeepFloatOption = None,
    budget: BudgetOption = None,
    latency: LatencyOption = None,
    runtime: RuntimeOption = None,
    target: Annotated[str | None, typer.Option(help=f"Check the file for: {TARGET_HELP}")] = None,
    data: Annotated[str | None, typer.Option(help=f"To verify the file on: {DATA_HELP}")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="A text file with a line for each class; those of the data where not given.")
    ] = None,
    mean: MeanOption = None,
    std: StdOption = None,
    name: Annotated[str, typer.Option(help="Name of the files.")] = "model",
    threads: Annotated[str, typer.Option(help="Numbers of threads to time with, with commas.")] = "1",
    samples: Annotated[int | None, typer.Option(min=1, help=SAMPLES_HELP)] = None,
    size: SizeOption = None,
    io: Annotated[str | None, typer.Option(help=IO_HELP)] = None,
    tolerance: Annotated[float | None, typer.Option(help=TOLERANCE_HELP)] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help=f"{STRICT_HELP} And exit with 1 if a target leaves operators to others.")
    ] = False,
    custom: CustomOption = None,
    unsafe: UnsafeOption = False,
) -> None:
    """Make a folder for devices: verified file, reports, labels, C array, snippets; exit with 1 if a target refuses.

    For int8, a float model is calibrated by tfsep.quantize.calibrate, with --calibrate best if nothing else is given;
    --calibrate converter leaves that to the converter.
    """
    from tfsep._utils.native_stderr import silence_native_stderr

    with silence_native_stderr():
        from tfsep import tflite
        from tfsep.tflite._recipes import get_recipe
        from tfsep.tflite._targets import targets_named

        problems = Problems()
        with problems.collected():
            get_recipe(recipe).with_io(io)
        with problems.collected():
            targets = () if target is None else parse_targets(target)
            if targets:
                targets_named(targets)
        with problems.collected():
            counts = parse_thread_counts(threads)
        with problems.collected():
            named = _read_labels(labels)
        problems.require_sources(calibration=calibration, data=data)
        with problems.collected():
            loaded = open_model(model, custom, unsafe)
        problems.tell()
        _require_as_many(named, class_count(loaded))
        arguments = _opened(model, loaded, recipe, calibration, data, samples, mean, std, size)
        given = calibrate_arguments(calibrate, keep_float, budget, latency, runtime)
        chosen = with_latency(given, loaded, arguments["input_shape"])
        report = tflite.convert(
            **arguments,
            folder=out,
            calibrate=chosen or _default_calibration(arguments, calibrate),
            targets=targets,
            labels=named or _class_names(model, (data, calibration), class_count(loaded)),
            name=name,
            threads=counts,
            io=io,
            tolerance=tolerance,
            strict=strict,
        )
        print(report)
    if not (report.complete if strict else report.passed):
        raise typer.Exit(1)


def _default_calibration(arguments: dict[str, Any], method: str | None) -> dict[str, Any] | None:
    """The arguments by which `convert` calibrates where none is given: the defaults, for a float model to int8."""
    from tfsep.quantize._prepared_model import is_prepared

    recipe = arguments["recipe"]
    is_int8 = (recipe.weights, recipe.activations) == ("int8", "int8")
    given = method is not None or arguments["calibration"] is None or is_prepared(arguments["model"])
    return {} if is_int8 and not given else None


def _named_or_loaded(
    model: Path,
    alpha: float | None,
    classes: int | None,
    size: str | None,
    custom: list[str] | None,
    unsafe: bool,
) -> "tuple[Model, str | None]":
    """A network by name with new weights, or the model of a file, and the size that the model leaves open."""
    if (name := str(model)) not in NETWORKS:
        for option, value in (("alpha", alpha), ("classes", classes)):
            if value is not None:
                raise ValueError(f"{option}: expected none but with a network's name, got {value}")
        return open_model(model, custom, unsafe), size
    from tfsep.models import ArgScope, from_definitions

    *sides, channels = NETWORKS[name].input_shape()
    rows, columns = sides if size is None else parse_size(size)
    print_line(f"{name}: new weights, which are not trained")
    shape = rows, columns, channels or 3
    # Kernels drawn by He's rule: by slim's, the signal of a deep network vanishes before it is trained.
    scope = ArgScope(stddev=None)
    given = 1000 if classes is None else classes, 1.0 if alpha is None else alpha
    return from_definitions(NETWORKS[name], shape, *given, arg_scope=scope), None


def _opened(
    model: Path,
    loaded: "Model",
    recipe: str,
    calibration: str | None,
    data: str | None,
    samples: int | None,
    mean: str | None,
    std: str | None,
    size: str | None,
) -> dict[str, Any]:
    """What the options name, as arguments of `tflite.export` and `tflite.convert`."""
    from tfsep.tflite._recipes import MAX_CALIBRATION_SAMPLES, get_recipe

    chosen, most = get_recipe(recipe), samples or MAX_CALIBRATION_SAMPLES
    prepared = preparation_for(model, loaded, mean, std)
    prepared.tell(calibration, data)
    how = prepared.how
    shape = None if size is None else input_shapes_of(loaded, size)
    return {
        "model": loaded,
        "recipe": chosen,
        "calibration": open_samples("calibration", calibration, loaded, shape, "train", most, how),
        "data": open_samples("data", data, loaded, shape, "test", most, how),
        "preprocessing": prepared.recorded(calibration, data),
        "input_shape": shape,
        "max_calibration_samples": most,
    }


def _read_labels(path: Path | None) -> tuple[str, ...] | None:
    """The lines of a file; None without one."""
    from tfsep._utils.arguments import as_found

    if path is None:
        return None
    if not path.is_file():
        raise FileNotFoundError(f"labels: expected a file with a line for each class, got {as_found(path)}")
    return tuple(path.read_text(errors="replace", encoding="utf-8").rstrip("\n").split("\n"))


def _require_as_many(labels: tuple[str, ...] | None, classes: int) -> None:
    """Raise for labels of another number of classes than a model has, where that is known."""
    if labels and classes and len(labels) != classes:
        raise ValueError(f"labels: expected {classes} labels, got {len(labels)}")


def _class_names(model: Path, sources: tuple[str | None, ...], classes: int) -> tuple[str, ...] | None:
    """The class names recorded beside a model, or of the first data set with as many classes as it has."""
    from tfsep.data import read_class_names
    from tfsep.data._open_data import class_names_of

    named = (read_class_names(model), *(class_names_of(source) for source in sources if source is not None))
    return next((names for names in named if names and len(names) == classes), None)
