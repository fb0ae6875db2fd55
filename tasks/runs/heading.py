"""The top of a page: what ran, how it went, its figures, and what failed."""

from __future__ import annotations

from tasks.engine.step import State
from tasks.runs.markup import Child, Markup, counts, el, facts, fine, note, reading, when
from tasks.runs.recorded import Row, Run
from tasks.view.console import count

MARKS = {State.RAN: "✓", State.SKIPPED: "–", State.FAILED: "✗", State.ABORTED: "·"}
_OUTCOMES = {"ok": ("✓", "good"), "failed": ("✗", "bad"), "interrupted": ("·", "warn")}
_LAST_LINES = 12


def heading(run: Run) -> Markup:
    """Title, figures, and one sentence on what bounded the run."""
    sign, meaning = _OUTCOMES.get(run.outcome, ("·", "warn"))
    about = f"{when(run)} · {run.engine} · {count(run.concurrency, 'command')} at once · settings {run.settings_hash}"
    words = reading(run)
    return el(
        "header",
        el("p", note(run), class_="note") if note(run) else None,
        el("h1", run.task, " ", el("span", f"{sign} {run.outcome}", class_=f"outcome {meaning}")),
        el("p", about, class_="about"),
        el("dl", (_tile(*vars(fact).values()) for fact in facts(run)), _tile("steps", *_split(run)), class_="tiles"),
        el("p", words, class_="reading") if words else None,
    )


def failures(run: Run) -> Markup | None:
    """Each step that failed: why, and the end of its log."""
    if not run.failed:
        return None
    return el(
        "section",
        el("h2", "What failed"),
        (
            el("article", el("h3", "✗ ", row.name), el("p", row.why, class_="why"), evidence(run, row, _LAST_LINES))
            for row in run.failed
        ),
        class_="failures",
        id="failures",
    )


def more(run: Run, row: Row) -> Markup:
    """All that is known of a step."""
    pairs: list[tuple[str, str]] = [("state", row.state.value)]
    if row.acted:
        pairs.append(
            ("took", fine(row.seconds) + (f", after {fine(row.queued_s)} in the queue" if row.queued_s else ""))
        )
        pairs.append(("from, to", f"{row.began:.3f} s, {row.end_s or 0.0:.3f} s"))
        pairs.append(("place", "a wait holds no slot" if row.slot is None else f"slot {row.slot}"))
        pairs.append(("attempts", str(row.attempts)))
    if row.exit_code is not None:
        pairs.append(("exit code", str(row.exit_code)))
    if row.needs:
        pairs.append(("needs", ", ".join(row.needs)))
    if row.critical:
        pairs.append(("path", "on the critical path"))
    return el(
        "div",
        el("p", row.why, class_="why") if row.why else None,
        el("dl", (el("div", el("dt", label), el("dd", value)) for label, value in pairs), class_="facts"),
        evidence(run, row),
        class_="more",
    )


def evidence(run: Run, row: Row, last: int | None = None) -> Child:
    """A step's command and log; `last`: only so many lines from its end."""
    log = run.logs.get(row.name)
    if log is None:
        return None
    told_above = bool(log.command) and log.lines[:1] == (f"$ {log.command}",)
    lines = log.lines[told_above:] if last is None else log.lines[told_above:][-last:]
    return [
        el("p", el("code", f"$ {log.command}"), class_="command") if log.command else None,
        el("pre", "\n".join(lines), tabindex="0", aria_label=f"log of {row.name}") if lines else None,
        el(
            "p",
            log.path,
            f" ({log.left_out} bytes of its middle are left out here)" if log.left_out else "",
            class_="file",
        ),
    ]


def system(run: Run) -> Markup:
    """The machine and the versions, at the bottom."""
    pairs = [(key.replace("_", " "), value) for key, value in run.system.items()]
    return el(
        "footer",
        el("h2", "Where it ran"),
        el("dl", (el("div", el("dt", key), el("dd", value)) for key, value in pairs), class_="facts"),
        el("p", f"Record: runs/{run.name}.json", class_="file"),
    )


def _tile(label: str, value: str, note: str) -> Markup:
    return el("div", el("dt", label), el("dd", el("b", value), " ", el("small", note)))


def _split(run: Run) -> tuple[str, str]:
    return str(len(run.rows)), counts(run)
