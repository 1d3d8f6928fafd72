"""The commands about where a file runs: what is in it, whether a target takes it, and how fast it is."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tfsep._table import Table
from tfsep.cli._app import Format, command

TARGET_HELP = "xnnpack, tflm, gpu, nnapi, edgetpu, ethos-u or cmsis-nn; several with commas, or 'all'."


def targets_named(text: str) -> tuple[str, ...]:
    """The targets that a user names."""
    from tfsep import tflite

    return tflite.TARGETS if text == "all" else tuple(part.strip() for part in text.split(","))


@command("inspect")
def inspect(
    file: Annotated[Path, typer.Argument(help="A .tflite file.")],
    target: Annotated[str | None, typer.Option(help=f"Check the file for: {TARGET_HELP}")] = None,
) -> None:
    """List a file's operators, tensors and quantization; or say whether targets take it, and exit with 1 if not."""
    from tfsep._quiet import quiet

    with quiet():
        from tfsep import tflite

        if target is None:
            print(tflite.inspect(file))
            return
        report = tflite.check_targets(file, targets_named(target))
        print(report)
    if not report.passed:
        raise typer.Exit(1)


@command("bench")
def bench(
    files: Annotated[list[Path], typer.Argument(help=".tflite files, or folders of them.")],
    threads: Annotated[str, typer.Option(help="Numbers of threads, with commas.")] = "1",
    runs: Annotated[int, typer.Option(min=1, help="Timed runs.")] = 50,
    warmup: Annotated[int, typer.Option(min=0, help="Runs before them.")] = 10,
    profile: Annotated[bool, typer.Option("--profile", help="Time each operator, beside its MACs.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the accuracy in the files' reports against time and size: a .png or .svg.")
    ] = None,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.TABLE,
) -> None:
    """Time files side by side, one run of each in turn: median, spread and memory."""
    from tfsep._quiet import quiet

    with quiet():
        from tfsep import tflite
        from tfsep.tflite._reports import files_of, points_of

        if plot is not None and plot.suffix not in (".png", ".svg"):
            raise ValueError(f"plot: expected a name that ends in .png or .svg, got {plot}")
        paths = [path for file in files for path in files_of(file)]
        counts = _numbers(threads)
        times = tflite.benchmark_all(paths, counts, runs=runs, warmup=warmup)
        tables = [times.table()]
        if profile:
            reports = [tflite.profile(path, count, runs=runs, warmup=warmup) for path in paths for count in counts]
            tables += [report.table() for report in reports]
        points = [] if plot is None else points_of(times)
        print("\n\n".join(_printed(table, format) for table in tables))
        if plot is not None:
            _draw(points, plot)
            print(f"\nplot: {plot}")


def _numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ValueError(f"threads: expected numbers such as 1,2, got {text!r}")
    return [int(part) for part in parts]


def _printed(table: Table, format: Format) -> str:
    return {Format.TABLE: table.text, Format.MARKDOWN: table.markdown, Format.CSV: table.csv}[format]()


def _draw(points: Any, path: Path) -> None:
    from tfsep._files import placed
    from tfsep.plots import pareto

    with placed([path], "plot") as (file,):
        pareto(points).savefig(file, dpi=150, format=path.suffix[1:])
