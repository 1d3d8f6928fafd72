"""Tests that need a package which not every machine has: they skip where it is not installed."""

from importlib.util import find_spec

import pytest

NEED_MICRO = {
    "convert": (
        "bundle_folder",
        "c_array_equals_the_file",
        "calibration_is_for_the_runtime_of_the_targets",
        "convert_command",
        "file_changed_by_metadata_is_refused",
        "labels_are_packed_and_buffers_stay_aligned",
        "python_snippet_runs_and_agrees",
        "several_inputs_are_calibrated_by_name",
    ),
    "open_sizes": ("inputs_without_samples_are_refused",),
    "targets": (
        "crash_in_micro_is_reported",
        "custom_target_is_a_record",
        "differing_micro_outputs_are_counted",
        "micro_failure_is_explained",
        "micro_outputs_are_matched",
        "micro_runs_the_file_in_the_smallest_arena",
        "mobilenet_passes_or_is_explained",
        "silent_micro_worker_is_reported",
        "the_guide_has_the_shipped_files_figures",
    ),
}
"""By file: tests of `tflite-micro`, which has wheels for x86-64 Linux alone."""


def skip_without_packages(items: list[pytest.Item]) -> None:
    """Let tests skip whose package is not installed."""
    if find_spec("tflite_micro") is not None:
        return
    skip = pytest.mark.skip(reason="needs the extra micro")
    for item in items:
        names = NEED_MICRO.get(item.path.stem.removeprefix("test_"), ())
        if item.name.partition("[")[0].removeprefix("test_") in names:
            item.add_marker(skip)
