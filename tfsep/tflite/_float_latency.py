"""How much longer a model's int8 file takes with an operation in float32."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfsep._keras.types import InputShapes, Model
from tfsep._utils.arguments import number_in_range, positive_int
from tfsep._utils.progress import progress_bar
from tfsep.quantize import ActivationQuantizer, Config, coverage, prepare
from tfsep.quantize._config import config_of
from tfsep.quantize._prepare import NothingInIntegersError
from tfsep.quantize._unknown_layers import require_known
from tfsep.tflite._benchmark import time_contents
from tfsep.tflite._model_signature import signature_of
from tfsep.tflite._recipes import get_recipe
from tfsep.tflite._tflite_converter import convert_model


def float_latency(
    model: Model,
    names: Sequence[str] | None = None,
    *,
    input_shape: InputShapes | None = None,
    threads: int = 1,
    runs: int = 50,
    warmup: int = 10,
    config: Config | None = None,
    **options: Any,
) -> dict[str, float]:
    """Return by how many milliseconds each operation in float32 slows the int8 file of a model down.

    A file is made for each operation, with that one in float32, DEQUANTIZE and QUANTIZE around it included, and timed
    side by side with the file that has none. Ranges have no influence on times, so that no
    data are needed. `tfsep.quantize.calibrate` takes the result as its ``latency``.

    Args:
        model: a float model; it is not changed.
        names: names of operations, those of `tfsep.quantize.coverage`'s rows; None for all in int8. Each takes a
            conversion, some seconds for a large model.
        input_shape: shape without the batch, for a model that leaves sizes open.
        threads: number of LiteRT's threads.
        runs: number of timed runs of each file.
        warmup: number of runs of each before these, which are not timed.
        config: the settings of `tfsep.quantize.prepare`; None for its defaults.
        **options: fields of `tfsep.quantize.Config`, in place of those of `config`.

    Returns:
        Differences of the medians, by name; below 0 where float32 is faster.

    Raises:
        TypeError, ValueError: for what `tfsep.quantize.prepare` refuses, a name that nothing has, or a number out of
            range.

    Examples:
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="c")])
        >>> list(float_latency(model, runs=3))
        ['c']
    """
    chosen, count, runs = config_of(config, options), positive_int(threads, "threads"), positive_int(runs, "runs")
    warmup = number_in_range(warmup, "warmup", int, 0)

    def content(float_layers: Sequence[str]) -> np.ndarray:
        try:
            prepared = prepare(model, chosen, float_layers=(*chosen.float_layers, *float_layers))
        except NothingInIntegersError:  # of a single operation
            return converted(model, "float32")
        for layer in prepared.layers:
            if isinstance(layer, ActivationQuantizer) and layer.fixed_range is None:
                layer.set_range(-1.0, 1.0)
        return converted(prepared, "int8")

    def converted(model: Model, recipe: str) -> np.ndarray:
        made = convert_model(signature_of(model, input_shape, 1), get_recipe(recipe), None, False)
        return np.frombuffer(made.content, np.uint8)

    rows = coverage(prepare(model, chosen)).rows
    if names is None:
        names = [row.name for row in rows if row.dtype == "int8"]
    require_known(names, {row.name for row in rows}, "names")
    with progress_bar("latency", 1 + len(names)) as advance:
        contents = []
        for float_layers in ((), *((name,) for name in names)):
            contents.append(content(float_layers))
            advance()
    times = np.median(time_contents(contents, [count], runs, warmup)[:, 0], axis=1)
    return dict(zip(names, (times[1:] - times[0]).tolist(), strict=True))
