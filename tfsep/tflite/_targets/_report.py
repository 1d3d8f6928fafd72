"""Reports of checking a file for targets: records, tables and JSON."""

from dataclasses import asdict, dataclass, field
from typing import Any

from tfsep._utils.table import Table

MEASURED, RULE = "measured", "documented rule"


@dataclass(frozen=True)
class Finding:
    """Why a target does not take an operator.

    Attributes:
        node: the operator's number in the file; None for a finding on the whole file.
        operator: name of its kind.
        name: name of its output.
        why: the target's requirement, or its message.
        change: what to change in the network, or how it is exported.
        source: document and version of the requirement.
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
        target: name of the target.
        basis: ``"measured"`` or ``"documented rule"``.
        passed: whether every operator but `leftovers` runs as intended, with the right results where these were
            measured.
        taken: number of operators that run as intended; on the Edge TPU, none after the first that does not.
        nodes: number of operators.
        partitions: number of parts of the graph that run as a whole; None where that is not known.
        findings: one for each operator that does not run as intended.
        source: source of the rules, or the package that measured.
        facts: other measures, by name.
        leftovers: numbers of the operators among the findings that the target leaves by a documented rule, at an end of
            the graph: they run on another kernel, and all others stay together.
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
    leftovers: tuple[int, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether it passes without leftovers."""
        return self.passed and not self.leftovers

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        return asdict(self)

    def summary(self) -> str:
        """Return the result in one line."""
        parts = "" if self.partitions is None else f" in {self.partitions} partition{'s'[: self.partitions != 1]}"
        facts = "".join(f"; {name} {shown}" for name, shown in self._facts())
        left = [found for found in self.findings if found.node in self.leftovers]
        noted = f"; {_operators(left)} {'runs' if len(left) == 1 else 'run'} outside it" if left else ""
        said = "passes" if self.passed else "does not pass"
        return f"{said}: {self.taken} of {self.nodes} nodes{parts}{facts}{noted}"

    def _facts(self) -> list[tuple[str, str]]:
        return [
            (name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
            for name, value in self.facts.items()
        ]

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Return the findings, one row per reason: operators, reason, change, source."""
        groups: dict[tuple[str, str, str], list[Finding]] = {}
        for found in self.findings:
            groups.setdefault((found.why, found.change, found.source), []).append(found)
        return [(_operators(group), *reason) for reason, group in groups.items()]


def _operators(group: list[Finding]) -> str:
    """Names of operators with their numbers in the file, or with their count where they are more than three."""
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
        path: path of the file.
        reports: one for each target, in the order given.
    """

    path: str
    reports: tuple[TargetReport, ...]

    @property
    def passed(self) -> bool:
        """Whether the file passes on all of them, but for documented leftovers."""
        return all(report.passed for report in self.reports)

    @property
    def complete(self) -> bool:
        """Whether all of them take the whole file."""
        return all(report.complete for report in self.reports)

    def __getitem__(self, target: str) -> TargetReport:
        """Return the report of one target."""
        return next(report for report in self.reports if report.target == target)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the JSON."""
        return {report.target: report.to_dict() for report in self.reports}

    def table(self) -> Table:
        """Return a row for each target."""
        return Table(("target", "basis", "result"), [(r.target, r.basis, r.summary()) for r in self.reports])

    def findings(self) -> Table:
        """Return one row per reason, with all its operators."""
        rows = [(report.target, *row) for report in self.reports for row in report.rows()]
        return Table(("target", "operators", "why", "change", "source"), rows)

    def __str__(self) -> str:
        """Return both tables as text."""
        return "\n\n".join([self.table().text(), *([self.findings().text()] if self.findings().rows else [])])
