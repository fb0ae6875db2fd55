"""A command's failure as the tests give it, and one case of a catalogue."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasks.diagnose.diagnosis import KnownDeadline, KnownFailure, explain
from tasks.process.command import Command, CommandFailed, Completed


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a program wrote, and what must be known of it."""

    program: str
    cause: str
    text: str
    says: tuple[str, ...] = ()
    """Parts that why or fix must hold."""
    transient: bool = False

    def __str__(self) -> str:
        return f"{self.program}-{self.cause}"


def completed(program: str, err: str, *, out: str = "", code: int = 1) -> Completed:
    return Completed(command=Command(argv=(program, "x")), code=code, out=out, err=err, seconds=1.0)


def told(program: str, err: str, *, out: str = "", code: int = 1) -> KnownFailure | KnownDeadline:
    return explain(CommandFailed(completed(program, err, out=out, code=code)), program)


def check(case: Case) -> None:
    error = told(case.program, case.text)
    assert error.cause == case.cause, f"{error.cause or 'none'}: {error.why}"
    assert error.transient is case.transient
    assert error.fix
    both = f"{error.why}\n{error.fix}"
    for part in case.says:
        assert part in both, both
    assert "…" not in both.replace("(local-path, …)", "").replace("kubectl get …", ""), both
    assert re.search(r"\{[a-z]+\}", both) is None, both
