"""Check and time this library on a GPU: ``python benchmarks/gpu.py [--minutes N] [--only GROUPS] [--out FOLDER]``.

First whether it is right, then how fast, in groups of a process each, which ends at its time limit. Each row is printed
and written into ``gpu.csv`` and ``gpu.md`` of the folder as it comes, under the names of device, driver and libraries.
The sides of a case take turns in one process; the last call of a turn is waited for. Times are in milliseconds.

The groups stand in the order of what they decide. ``--minutes`` is the time for all of them: the group that it ends in
keeps the rows that it has, and those behind are left out, for another run with ``--only``.

``--quick`` does the same with the smallest sizes, also on a CPU: that it runs. ``--torch`` is the Python with PyTorch,
where it is another than this, with its environment: ``--torch "env -u PYTHONPATH python3"``. Ends with 1 if a group
failed, a case is wrong or a ratio is under its goal.
"""

import argparse
import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from contest import (
    RATES,
    STRIDED,
    Run,
    Shape,
    inference,
    keras_model,
    keras_ops,
    our_model,
    ours,
    quantized_model,
    tf_nn,
    trainer_step,
    training_step,
)
from gpu_checks import Sizes, correctness, prepared, probe, said
from layer_contest import LAYERS, compiled_layer
from run import COLUMNS, expression, markdown, summary, table_row
from torch_contest import torch_training_step

HERE = Path(__file__).parent
ORACLES = HERE.parent / "tests"


_DEPTHWISE = [Shape(112, 32), Shape(112, 64, 2), Shape(28, 256), Shape(14, 512), RATES[0], STRIDED[0]]
FULL = Sizes(48, [s._replace(images=64) for s in _DEPTHWISE], [s._replace(images=64) for s in _DEPTHWISE[1:5]],
             slice(None), 224, 128, 0.4)  # fmt: skip
QUICK = Sizes(
    4, [Shape(8, 4, images=2), Shape(8, 4, 2, 2, images=2)], [Shape(8, 4, images=2)], slice(7, 8), 32, 2, 0.01
)


def compared(group: str, case: str, peer_name: str, goal: float, seconds: float, mine: Run, peer: Run) -> dict:
    """Time two sides in turns of some twenty milliseconds, and wait for the device at the end of each."""
    wait = _wait()
    runs, times = {"mine": mine, "peer": peer}, {"mine": [], "peer": []}
    calls = {}
    for side, run in runs.items():
        for _ in range(2):
            run()
        wait()
        begin = time.perf_counter()
        run()
        wait()
        calls[side] = max(1, min(50, round(0.02 / (time.perf_counter() - begin))))
    end, turn = time.perf_counter() + 2 * seconds, 0
    while time.perf_counter() < end or turn < 4:
        for side in sorted(runs, reverse=bool(turn % 2)):
            begin = time.perf_counter()
            for _ in range(calls[side]):
                runs[side]()
            wait()
            times[side].append((time.perf_counter() - begin) * 1e3 / calls[side])
        turn += 1
    figures = (value for side in runs for value in summary(times[side]))
    return table_row(group, case, peer_name, tuple(figures), goal)


def _wait() -> Callable[[], None]:
    import tensorflow as tf

    wait: Callable[[], None] = tf.test.experimental.sync_devices
    return wait


def convolutions(dtype: str, tensor_float_32: bool, jit: bool, sizes: Sizes) -> Iterator[dict]:
    """Depthwise convolutions against `tf.nn`, which is wrong with stride and rate: Keras's then."""
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(tensor_float_32)
    group = f"convolutions, {dtype}{', TF32' * tensor_float_32}{', XLA' * jit}"
    for shape in sizes.compiled_shapes if jit else sizes.shapes:
        both = shape.stride > 1 and shape.rate > 1
        for gradients in (False, True):
            mine, peer = (make(shape, gradients, jit, dtype) for make in (ours, keras_ops if both else tf_nn))
            name = f"{shape}, {'gradients' if gradients else 'forward'}"
            yield compared(group, name, "Keras" if both else "tf.nn", 2.0 if both else 1.0, sizes.seconds, mine, peer)


def layers(jit: bool, sizes: Sizes) -> Iterator[dict]:
    """Single layers against Keras's, with gradients."""
    for shape in LAYERS[sizes.layers]:
        mine, peer = (compiled_layer(library, shape, True, jit) for library in ("tfsep", "keras"))
        yield compared(f"layers{', XLA' * jit}", str(shape), "Keras", 1.0, sizes.seconds, mine, peer)


def steps(policy: str, sizes: Sizes) -> Iterator[dict]:
    """MobileNet v1: the step of `fit`, with Keras's defaults there, and that of `tfsep train`, with and without XLA."""
    step = partial(training_step, policy=policy, side=sizes.side, images=sizes.images)
    group, name = f"training step, {policy}", f"MobileNet v1, {sizes.side}², batch {sizes.images}"
    keras_step = step(keras_model)
    trained = partial(trainer_step, policy, sizes.side, sizes.images)
    for how, goal, mine in (
        ("fit with XLA", 1.1, partial(step, our_model, jit=True)),
        ("tfsep train with XLA", 1.1, partial(trained, True)),
        ("tfsep train without XLA", 1.0, partial(trained, False)),
    ):
        yield compared(group, f"{name}, {how}", "Keras's fit", goal, 2 * sizes.seconds, mine(), keras_step)
    yield said(group, name, peak_MiB=_peak())


def _peak() -> Any:
    import tensorflow as tf

    if not tf.config.list_logical_devices("GPU"):
        return "unknown"
    return tf.config.experimental.get_memory_info("GPU:0")["peak"] // 2**20


def augmentations(sizes: Sizes) -> Iterator[dict]:
    """The compiled step with its input pipeline: what `augmentation=auto` chooses on a GPU, against the host."""
    mine, peer = (
        trainer_step("float32", sizes.side, sizes.images, True, augmentation) for augmentation in ("device", "host")
    )
    name = f"MobileNet v1, {sizes.side}², batch {sizes.images}, XLA"
    yield compared("augmentation within the step", name, "on the host", 1.0, 2 * sizes.seconds, mine, peer)


def inferences(sizes: Sizes) -> Iterator[dict]:
    """MobileNet v1 without its normalizations, against Keras's."""
    for jit in (False, True):
        mine, peer = (
            inference(make, fold, True, side=sizes.side, images=sizes.images, jit=jit)
            for make, fold in ((our_model, True), (keras_model, False))
        )
        name = f"MobileNet v1, {sizes.side}², batch {sizes.images}{', XLA' * jit}"
        yield compared("inference", name, "Keras", 1.0, sizes.seconds, mine, peer)


def quantized(sizes: Sizes) -> Iterator[dict]:
    """The quantization-aware step against the same network's in float32, both without XLA or with it."""
    for jit in (False, True):
        step = partial(training_step, side=sizes.side, images=sizes.images, jit=jit)
        mine, peer = step(quantized_model), step(our_model)
        name = f"MobileNet v1, {sizes.side}², batch {sizes.images}{', XLA' * jit}"
        yield compared("quantization-aware step", name, "ours in float32", 0.5, 2 * sizes.seconds, mine, peer)


def torch_steps(sizes: Sizes) -> Iterator[dict]:
    """PyTorch's step, eager and compiled; `main` puts ours of the rows above beside them."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    for half in (False, True) if device == "cuda" else (False,):
        for compiled in (False, True):
            run = torch_training_step(sizes.side, sizes.images, device, half, compiled)
            for _ in range(5):
                run()
            times = []
            while len(times) < 3 or sum(times) < 2e3 * sizes.seconds:
                begin = time.perf_counter()
                run()
                times.append((time.perf_counter() - begin) * 1e3)
            group = f"training step, {'mixed_float16' if half else 'float32'}"
            name = f"MobileNet v1, {sizes.side}², batch {sizes.images}, PyTorch {'compiled' if compiled else 'eager'}"
            row = said(group, name, torch=torch.__version__)
            yield {**row, "peer": f"{summary(times)[0]:.3g}", "peer spread": summary(times)[1]}


def beside_torch(row: dict, rows: list[dict]) -> dict:
    """A row of PyTorch's step with that of `tfsep train` by XLA beside it, if it was timed; only eager has a goal."""
    mine = [each for each in rows if each["group"] == row["group"] and each["case"].endswith("tfsep train with XLA")]
    if not mine:
        return row
    figures = float(mine[0]["ours"]), mine[0]["spread"], float(row["peer"]), row["peer spread"]
    compared_row = table_row(row["group"], row["case"], row["against"], figures, 1.2)
    return compared_row if row["case"].endswith("eager") else {**compared_row, "goal": "", "reached": ""}


class Group(NamedTuple):
    """Rows by a process of its own, which may take so many seconds."""

    rows: Callable[[Sizes], Iterator[dict]]
    limit: float
    library: str = "tensorflow"


def _convolutions(jit: bool, limit: float) -> dict[str, Group]:
    """The groups of convolutions: float32 with TensorFloat-32 off and on, float16 and bfloat16."""
    precisions = {"float32": False, "float32, TF32": True, "float16": False, "bfloat16": False}
    return {
        f"{'xla, ' * jit}convolutions, {name}": Group(partial(convolutions, name.partition(",")[0], tf32, jit), limit)
        for name, tf32 in precisions.items()
    }


GROUPS = {
    "correctness": Group(correctness, 180),
    "probe": Group(probe, 60),
    "prepared": Group(prepared, 90),
    "step, float32": Group(partial(steps, "float32"), 240),
    "step, mixed_float16": Group(partial(steps, "mixed_float16"), 300),
    "torch": Group(torch_steps, 90, "torch"),
    **_convolutions(False, 40),
    "layers": Group(partial(layers, False), 60),
    "xla, layers": Group(partial(layers, True), 90),
    "inference": Group(inferences, 90),
    "quantized": Group(quantized, 240),
    **_convolutions(True, 60),
    "augmentation": Group(augmentations, 150),
    "step, mixed_bfloat16": Group(partial(steps, "mixed_bfloat16"), 300),
}


_VERSIONS = """
import keras
import tensorflow as tf
build, details = tf.sysconfig.get_build_info(), tf.config.experimental.get_device_details
names = [details(gpu).get("device_name") for gpu in tf.config.list_physical_devices("GPU")]
built = ", ".join(f"{key[:-8]} {build[key]}" for key in ("cuda_version", "cudnn_version") if key in build)
print(*names or ["no GPU"], f"tensorflow {tf.__version__} (built for {built})", f"keras {keras.__version__}", sep=", ")
"""


def machine() -> str:
    """One line on device, driver and libraries, which a process of its own asks for, to leave the device free."""
    done = subprocess.run([sys.executable, "-c", _VERSIONS], capture_output=True, text=True, check=True)
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        driver = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        driver = "none"
    return f"{done.stdout.strip()}, driver {driver}, Python {sys.version.split()[0]}"


def rows_of(name: str, options: argparse.Namespace, end: float) -> Iterator[dict]:
    """The rows of a group as its process prints them; one that says so if it fails, or is at its limit or the end."""
    group = GROUPS[name]
    limit = min(group.limit, round(end - time.monotonic()))
    if limit <= 0:
        yield said("left out", name, because="no time is left")
        return
    python = shlex.split(options.torch) if group.library == "torch" else [sys.executable]
    if subprocess.run([*python, "-c", f"import {group.library}"], capture_output=True, check=False).returncode:
        yield said("left out", name, because=f"{group.library} is not there")
        return
    command = [*python, __file__, "--group", name, *["--quick"] * options.quick]
    # A session of its own: compilers that a group starts would keep its output open past its end.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    timer = threading.Timer(limit, os.killpg, (process.pid, signal.SIGKILL))
    begin = time.perf_counter()
    timer.start()
    errors: list[str] = []
    reader = threading.Thread(target=lambda: errors.extend(process.stderr), daemon=True)
    reader.start()
    for line in process.stdout:
        if line.startswith("{"):
            yield json.loads(line)
    code = process.wait()
    timer.cancel()
    reader.join(5)
    if code != 0:
        ended = time.perf_counter() - begin >= limit
        why = f"at its limit of {limit} s" if ended else " ".join("".join(errors[-3:]).split()) or f"exit code {code}"
        yield said("failed", name, because=why, wrong=True)


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smallest sizes, for whether it runs")
    parser.add_argument("--minutes", type=float, default=60.0, help="the time for all groups")
    parser.add_argument("--only", type=expression, help="a regular expression that the group's name begins with")
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="folder for gpu.csv and gpu.md")
    parser.add_argument("--torch", default=sys.executable, help="the Python that has PyTorch, and its environment")
    parser.add_argument("--group", choices=GROUPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.group:
        sys.path.append(str(ORACLES))
        for row in GROUPS[options.group].rows(QUICK if options.quick else FULL):
            print(json.dumps(row), flush=True)
        return 0
    chosen = [name for name in GROUPS if options.only is None or options.only.match(name)]
    if not chosen:
        parser.error(f"--only: expected one that a group's name begins with, got {options.only.pattern!r}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    options.out.mkdir(parents=True, exist_ok=True)
    end, title, rows = time.monotonic() + 60 * options.minutes, machine(), []
    before = _read(options.out) if options.only else []
    print(title, flush=True)
    for name in chosen:
        for row in rows_of(name, options, end):
            rows.append(beside_torch(row, before + rows) if name == "torch" and row["peer"] else row)
            print(*rows[-1].values(), sep="  ", flush=True)
            _write(options.out, title, merged(before, rows))
    return 1 if any(row["reached"] == "no" for row in rows) and not options.quick else 0


def merged(before: list[dict], rows: list[dict]) -> list[dict]:
    """The rows of a former run that were not measured again, and the new ones."""
    measured = [(row["group"], row["case"], row["against"]) for row in rows]
    return [row for row in before if (row["group"], row["case"], row["against"]) not in measured] + rows


def _read(folder: Path) -> list[dict]:
    """The rows of a former run, which a part of the groups leaves as they are."""
    path = folder / "gpu.csv"
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _write(folder: Path, title: str, rows: list[dict]) -> None:
    with (folder / "gpu.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    (folder / "gpu.md").write_text(f"{title}\n\n{markdown(rows)}")


if __name__ == "__main__":
    sys.exit(main())
