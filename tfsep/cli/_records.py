"""The command records: a data set as TFRecord shards."""

from pathlib import Path
from typing import Annotated

import typer

from tfsep.cli._app import SET_HELP, command, parse_size, print_line


@command("records")
def records(
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    data: Annotated[str, typer.Option(help=f"{SET_HELP}.")] = "fashion_mnist",
    shards: Annotated[int, typer.Option(help="Files per split.")] = 16,
    size: Annotated[str | None, typer.Option(help="Rows and columns that a folder's images are brought to.")] = None,
    channels: Annotated[int | None, typer.Option(help="And their channels: 3, or 1 for grey.")] = None,
) -> None:
    """Write a data set as TFRecord shards, for training whose memory does not grow with it, on many machines."""
    from tfsep._utils.native_stderr import silence_native_stderr

    with silence_native_stderr():
        from tfsep.data import open_data, open_records, write_records

        shape = (*((None, None) if size is None else parse_size(size)), channels)
        written = open_records(write_records(open_data(data, shape), out, shards))
        for name, split in (("train", written.train), ("test", written.test)):
            print_line(f"{name}: {split.size:,} images in {len(split.shard_sizes)} shards in {out}")
