"""What a recorded run's numbers say, in words."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.engine.step import State
from tasks.view.fit import count, seconds
from tasks.view.line import UNICODE, Marks
from tasks.view.report.recorded import Run

_ASCII = str.maketrans({"−": "-", "±": "+", "“": '"', "”": '"'})


def fine(value: float) -> str:
    """Seconds of one step: `4 ms`, `0.28 s`, `11.0 s`, `3 min 05 s`."""
    if value < 0.0995:
        return f"{max(0.0, value) * 1000:.0f} ms"
    return f"{value:.2f} s" if value < 0.9995 else seconds(value)


def signed(value: float) -> str:
    """A difference in seconds: `+1.3 s`, `-0.28 s`."""
    sign = "+" if value > 0 else "−" if value < 0 else "±"
    return f"{sign}{fine(abs(value))}"


def signed_percent(value: float, of: float) -> str:
    """How much more or less it is, `+26 %`; `of` is not 0."""
    return f"{(value / of - 1) * 100:+.0f} %".replace("-", "−")


def spelled(words: str, marks: Marks) -> str:
    """The same, with the signs that are at hand."""
    return words if marks == UNICODE else words.translate(_ASCII)


def share(part: float, whole: float) -> str:
    """`95 %`; more than all is all, as clocks are read one after the other."""
    return f"{min(1.0, part / whole) * 100:.0f} %" if whole > 0 else "100 %"


def when(run: Run) -> str:
    """`2026-11-25 04:19:43 UTC`."""
    return f"{run.started:%Y-%m-%d %H:%M:%S} UTC"


def counts(run: Run) -> str:
    """`27 steps ran, 11 skipped`."""
    parts = [f"{count(sum(r.state is State.RAN for r in run.rows), 'step')} ran"]
    others = ((State.SKIPPED, "skipped"), (State.FAILED, "failed"), (State.ABORTED, "ended early or never begun"))
    parts += [f"{n} {word}" for state, word in others if (n := sum(r.state is state for r in run.rows))]
    return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One figure: its name, its value, and what it is of."""

    label: str
    value: str
    note: str = ""


def facts(run: Run) -> list[Fact]:
    """The figures that stand at the top."""
    side = run.busy_s / run.wall_s if run.wall_s > 0 else 0.0
    found = [
        Fact(label="total", value=seconds(run.wall_s), note=f"{fine(run.first_s)} of it before the first step"),
        Fact(label="longest chain", value=seconds(run.floor_s), note=f"{share(run.floor_s, run.wall_s)} of the total"),
        Fact(label="queued", value=seconds(run.queued_s), note="all steps together, for a place"),
        Fact(label="side by side", value=f"{side:.1f} steps", note=f"{seconds(run.busy_s)} of steps in that time"),
    ]
    return found if run.acted else found[:1]


def note(run: Run) -> str:
    """What must stand above everything else; empty for most runs."""
    return "A rehearsal: nothing real was made." if run.engine == "rehearsal" else ""


def reading(run: Run) -> str:
    """One sentence on what bounded the run; empty where the figures do not tell."""
    if run.outcome != "ok":
        return ""
    if not run.acted:
        return "Nothing had to be done."
    queued = sum(row.queued_s for row in run.path)
    if queued >= max(0.5, run.wall_s * 0.1):
        return (
            f"Steps of the critical path queued {seconds(queued)} for a place: more places may help "
            f"(CONCURRENCY_LEVEL was {run.concurrency}; downloads and Helm have smaller bounds of their own)."
        )
    if run.floor_s >= run.wall_s * 0.9 and run.path:
        longest = max(run.path, key=lambda row: row.seconds)
        return (
            f"The longest chain of needs takes {share(run.floor_s, run.wall_s)} of the total: more places would hardly "
            f"help. The longest step of the critical path is “{longest.name}” ({fine(longest.seconds)})."
        )
    return ""
