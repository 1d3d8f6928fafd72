"""The record of a target: its operators, their rules, and how a file is measured on it where this machine can."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from tfsep.tflite._targets._alternatives import alternative_to
from tfsep.tflite._targets._conditions import never
from tfsep.tflite._targets._node import Condition, Node
from tfsep.tflite._targets._report import RULE, Finding, TargetReport


class Source(NamedTuple):
    """Where rules are documented.

    Attributes:
        name: name of a document or a file of source code.
        version: the one that was read.
    """

    name: str
    version: str

    def __str__(self) -> str:
        """Return both."""
        return f"{self.name}, {self.version}"


class Rule(NamedTuple):
    """A condition on operators of a target.

    Attributes:
        operators: names; empty for every operator.
        holds: true of an operator that the target takes.
        needs: the condition in words, after "needs"; empty for an operator that the target does not have.
        change: what to change in the network, or how it is exported.
        source: where it is documented; None for the target's own source.
    """

    operators: tuple[str, ...]
    holds: Condition
    needs: str
    change: str
    source: Source | None = None


class TargetFile(NamedTuple):
    """A file to be checked.

    Attributes:
        path: path of the file.
        content: bytes of the file.
        nodes: the operators of its main graph.
    """

    path: str
    content: bytes
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Target:
    """A runtime or accelerator that a file may run on.

    Attributes:
        name: name that `check_targets` takes.
        summary: what it is, and what is checked for it, in one line.
        source: where its operators and rules are documented.
        operators: names of the operators that it has at all.
        rules: conditions on them; the first that an operator breaks is reported. A rule may name an operator that the
            target does not have, to give advice of its own; others have that of `ALTERNATIVES`, for all targets.
        prefix_only: whether it runs the graph only up to the first operator that it does not take.
        measure: function of the target and a file that runs the file; None for a target known by its rules alone.
        require: function that raises `ImportError` where `measure` lacks a package; None where it needs none.
        runtime: kernels whose rounding its results have, a value of `tfsep.quantize.Config.runtime`; None for its own.
    """

    name: str
    summary: str
    source: Source
    operators: frozenset[str] = frozenset()
    rules: tuple[Rule, ...] = ()
    prefix_only: bool = False
    measure: "Callable[[Target, TargetFile], TargetReport] | None" = None
    require: Callable[[], None] | None = None
    runtime: str | None = None

    def broken_rule(self, node: Node) -> Rule | None:
        """Return the first rule that an operator breaks, or None."""
        name = node.row.name
        is_listed = name in self.operators
        asked = (rule for rule in self.rules if name in rule.operators or (is_listed and not rule.operators))
        broken = next((rule for rule in asked if not rule.holds(node)), None)
        if broken is None and not is_listed:
            return Rule((name,), never, "", alternative_to(node))
        return broken

    def finding(self, rule: Rule, node: Node) -> Finding:
        """Return the report's entry for an operator that breaks a rule.

        Args:
            rule: that the operator breaks.
            node: the operator.
        """
        why = f"needs {rule.needs}" if rule.needs else "is no operator of this target"
        source = str(rule.source or self.source)
        return Finding(node.row.number, node.row.name, node.label, why, rule.change, source)

    def report(self, file: TargetFile) -> TargetReport:
        """Return whether a file runs as intended: measured where that is possible, else by the rules."""
        return self._documented_report(file.nodes) if self.measure is None else self.measure(self, file)

    def _documented_report(self, nodes: tuple[Node, ...]) -> TargetReport:
        findings = tuple(self.finding(rule, node) for node in nodes if (rule := self.broken_rule(node)) is not None)
        left = {found.node for found in findings}
        taken = [node.row.number not in left for node in nodes]
        facts = {}
        if self.prefix_only and False in taken:
            first = nodes[taken.index(False)].row
            facts["on_the_CPU_from"] = f"{first.name} {first.number} on"
            taken = taken[: taken.index(False)]
        partitions = 1 if self.prefix_only and taken else None
        return report_of(self, RULE, nodes, sum(taken), findings, str(self.source), partitions, facts)


def report_of(
    target: Target,
    basis: str,
    nodes: tuple[Node, ...],
    taken: int,
    findings: tuple[Finding, ...],
    source: str,
    partitions: int | None = None,
    facts: dict[str, Any] | None = None,
    leftovers: tuple[int, ...] = (),
) -> TargetReport:
    """Return the report on a file, which passes without findings but leftovers; see `TargetReport`."""
    passed = all(found.node in leftovers for found in findings)
    return TargetReport(
        target.name, basis, passed, taken, len(nodes), partitions, findings, source, facts or {}, leftovers
    )


def operator_names(text: str) -> frozenset[str]:
    """Return the names of operators in a text that lists them."""
    return frozenset(text.split())
