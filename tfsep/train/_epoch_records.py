"""What the log records of a run's epochs say: which is kept, when the run ends, whether it waits for images."""

from typing import Any

_LONG_WAIT = 0.25
_LONG_WAIT_SECONDS = 5.0
"""Share of an epoch, and time, that go by without a batch, from which on the log says what helps."""

_WAITING = (
    "{:.0%} of the epoch waited for images; `tfsep records` stores them at the size of the network, which a CPU reads "
    "faster"
)
_AUGMENTING = ", and augmentation=device, shift=0 or erase=0 leaves it less to augment"


def kept_record(records: list[dict[str, Any]], key: str) -> dict[str, Any]:
    """Return the record of the epoch whose weights are kept: of the best ones, the last, which has most training.

    Args:
        records: the records, one for each epoch.
        key: key of the held-out score.

    Examples:
        >>> kept_record([{"epoch": 1, "score": 0.5}, {"epoch": 2, "score": 0.5}, {"epoch": 3, "score": 0.4}], "score")
        {'epoch': 2, 'score': 0.5}
    """
    return max(reversed(records), key=lambda record: record[key])


def is_out_of_patience(records: list[dict[str, Any]], patience: int, key: str) -> bool:
    """Return whether no epoch was better for so many epochs.

    Args:
        records: the records, one for each epoch.
        patience: number of epochs; 0 for any number.
        key: key of the held-out score.
    """
    if not patience or not records:
        return False
    first_best: int = max(records, key=lambda record: record[key])["epoch"]
    return len(records) - first_best >= patience


def waits_long(records: list[dict[str, Any]]) -> bool:
    """Return whether the last epoch is the first, after that in which buffers are filled, to wait long for its images.

    Args:
        records: the records, one for each epoch.
    """
    waits = [
        each["data_wait"] >= _LONG_WAIT and each["data_wait"] * each["seconds"] >= _LONG_WAIT_SECONDS
        for each in records[1:]
    ]
    return waits[-1:] == [True] and sum(waits) == 1


def advice(waited: float, on_host: bool) -> str:
    """Return what to do about a share of an epoch that waited for images, as a line of the log.

    Args:
        waited: the share.
        on_host: whether images are augmented in the input pipeline.
    """
    return _WAITING.format(waited) + _AUGMENTING * on_host
