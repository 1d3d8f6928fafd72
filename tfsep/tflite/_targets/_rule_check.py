"""Documented rules on the nodes of a file."""

from tfsep.tflite._targets._alternatives import absent
from tfsep.tflite._targets._node import Node
from tfsep.tflite._targets._report import RULE, Finding, TargetReport
from tfsep.tflite._targets._rules import RULES, TARGETS, Rule


def broken(target: str, node: Node) -> Rule | None:
    """Return the first rule that an operator breaks on a target, or None."""
    if node.row.name not in TARGETS[target].operators:
        return absent(target, node)
    rules = (rule for rule in RULES if rule.target == target and node.row.name in (rule.operators or (node.row.name,)))
    return next((rule for rule in rules if not rule.holds(node)), None)


def finding(rule: Rule, node: Node) -> Finding:
    """Return what a report says of a broken rule."""
    why = f"needs {rule.needs}" if rule.needs else "is no operator of this target"
    return Finding(node.row.number, node.row.name, node.label, why, rule.change, str(rule.source))


def judge(target: str, nodes: tuple[Node, ...]) -> TargetReport:
    """Return a file's report on a target that is known by its rules."""
    findings = tuple(finding(rule, node) for node in nodes if (rule := broken(target, node)) is not None)
    left = {found.node for found in findings}
    taken = [node.row.number not in left for node in nodes]
    facts = {}
    if TARGETS[target].whole and False in taken:
        first = nodes[taken.index(False)].row
        facts["on_the_CPU_from"] = f"{first.name} {first.number} on"
        taken = taken[: taken.index(False)]
    return TargetReport(
        target=target,
        basis=RULE,
        passed=not findings,
        taken=sum(taken),
        nodes=len(nodes),
        partitions=1 if TARGETS[target].whole and taken else None,
        findings=findings,
        source=str(TARGETS[target].source),
        facts=facts,
    )
