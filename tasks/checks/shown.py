"""Findings as a table with what to do below it, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tasks.checks.finding import Finding, Level
from tasks.checks.mend import Mended
from tasks.view.fit import count, wrap
from tasks.view.line import Line, line
from tasks.view.table import table

_STYLES = {Level.OK: "good", Level.UNKNOWN: "dim", Level.WARNING: "warn", Level.PROBLEM: "bad"}


def as_lines(findings: Sequence[Finding], mended: Sequence[Mended], width: int | None = None) -> list[str | Line]:
    """The table, then each warning and problem with its reason and its fix, then the verdict."""
    lines: list[str | Line] = [line(f"{each.command}: {each.result}") for each in mended]
    lines += [""] if mended else []
    rows = [[each.check, each.level.value, each.what] for each in findings]
    lines += table(rows, head=("check", "result", "finding"), width=width)
    for finding in findings:
        if finding.why or finding.fix:
            head, *rest = wrap(finding.what, width, first=f"{finding.check}: ", rest="  ")
            cut = len(finding.check) + 1
            lines += ["", line((head[:cut], _STYLES[finding.level]), head[cut:]), *rest]
            lines += wrap(finding.why, width, first="  why:  ") if finding.why else []
            lines += wrap(finding.fix, width, first="  do:   ") if finding.fix else []
    return [*lines, "", _verdict(findings)]


def as_json(findings: Sequence[Finding], mended: Sequence[Mended], *, cluster: str, exit_code: int) -> str:
    """One document."""
    document: dict[str, Any] = {
        "cluster": cluster,
        "exit_code": exit_code,
        "findings": [
            {
                "check": each.check,
                "level": each.level.value,
                "what": each.what,
                "why": each.why,
                "fix": each.fix,
                "safe": each.remedy is not None,
            }
            for each in findings
        ],
        "fixed": [vars(each) for each in mended],
    }
    return json.dumps(document, indent=1, ensure_ascii=False)


def _verdict(findings: Sequence[Finding]) -> Line:
    stops = sum(each.level is Level.PROBLEM for each in findings)
    warnings = sum(each.level is Level.WARNING for each in findings)
    tail = f"; {count(warnings, 'warning')}" if warnings else ""
    safe = any(each.remedy is not None for each in findings)
    offer = "; `invoke doctor --fix` runs the fixes that are safe" if safe else ""
    if stops:
        return line((f"{count(stops, 'problem')} would stop a launch", "bad"), tail + offer)
    return line(("nothing here would stop a launch", "good"), tail + offer)
