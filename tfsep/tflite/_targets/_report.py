"""What came of checking a file for targets, as records, tables and JSON."""

from dataclasses import asdict, dataclass, field
from typing import Any

from tfsep._utils.table import Table

MEASURED, RULE = "measured", "documented rule"


@dataclass(frozen=True)
class Finding:
    """Why an operator is not computed where it should be.

    Attributes:
        node: its number in the file, None for what is said of the file.
        operator: its name.
        name: of what it computes.
        why: what the target needs, or said.
        change: what to change in the network, or how it is exported.
        source: where that is documented, and of which version.
    """

    node: int | None
    operator: str
    name: str
    why: str
    change: str
    source: str


@dataclass(frozen=True)
class TargetReport:
    """A file on one target.

    Attributes:
        target: by name.
        basis: ``"measured"``, or by ``"documented rule"``.
        passed: whether every operator runs as intended, and what was computed is right.
        taken, nodes: operators that run as intended, of how many; on the Edge TPU, none after the first that does not.
        partitions: parts of the graph, each run as a whole; None where nobody counts.
        findings: why, for each operator that does not.
        facts: what else was measured, by name.
        source: of the rules, or what measured.
    """

    target: str
    basis: str
    passed: bool
    taken: int
    nodes: int
    partitions: int | None
    findings: tuple[Finding, ...]
    source: str
    facts: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        return asdict(self)

    def summary(self) -> str:
        """Return what was found in one line."""
        parts = "" if self.partitions is None else f" in {self.partitions} partition{'s'[: self.partitions != 1]}"
        facts = "".join(f"; {name} {shown}" for name, shown in self._facts())
        return f"{'passes' if self.passed else 'does not pass'}: {self.taken} of {self.nodes} nodes{parts}{facts}"

    def _facts(self) -> list[tuple[str, str]]:
        return [
            (name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
            for name, value in self.facts.items()
        ]

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Return the findings, one row for all of one reason: operators, why, what to change, source."""
        groups: dict[tuple[str, str, str], list[Finding]] = {}
        for found in self.findings:
            groups.setdefault((found.why, found.change, found.source), []).append(found)
        return [(_operators(group), *reason) for reason, group in groups.items()]


def _operators(group: list[Finding]) -> str:
    """Names of operators with their numbers in the file, or how many there are, where they are more than three."""
    numbers: dict[str, list[int]] = {}
    for found in group:
        numbers.setdefault(found.operator, []).extend([] if found.node is None else [found.node])
    named = (
        f"{len(own)} {operator}" if len(own) > 3 else f"{operator} {', '.join(map(str, own))}".strip()
        for operator, own in numbers.items()
    )
    return "; ".join(named)


@dataclass(frozen=True)
class TargetsReport:
    """A file on several targets.

    Attributes:
        path: of the file.
        reports: one a target, in the order in which they were asked for.
    """

    path: str
    reports: tuple[TargetReport, ...]

    @property
    def passed(self) -> bool:
        """Whether the file passes on all of them."""
        return all(report.passed for report in self.reports)

    def __getitem__(self, target: str) -> TargetReport:
        """Return the report of one target."""
        return next(report for report in self.reports if report.target == target)

    def to_dict(self) -> dict[str, Any]:
        """Return what the JSON holds."""
        return {report.target: report.to_dict() for report in self.reports}

    def table(self) -> Table:
        """Return a row a target."""
        return Table(("target", "basis", "result"), [(r.target, r.basis, r.summary()) for r in self.reports])

    def findings(self) -> Table:
        """Return a row a reason."""
        rows = [(report.target, *row) for report in self.reports for row in report.rows()]
        return Table(("target", "operators", "why", "change", "source"), rows)

    def __str__(self) -> str:
        """Return both tables."""
        return "\n\n".join([self.table().text(), *([self.findings().text()] if self.findings().rows else [])])
