"""Targets: which operators of a file a runtime or an accelerator takes, and what to change for the others."""

from tfsep.tflite._targets._check_targets import TARGETS, check_targets, targets_named
from tfsep.tflite._targets._report import Finding, TargetReport, TargetsReport
from tfsep.tflite._targets._target import Rule, Source, Target

__all__ = [
    "TARGETS",
    "Finding",
    "Rule",
    "Source",
    "Target",
    "TargetReport",
    "TargetsReport",
    "check_targets",
    "targets_named",
]
