"""A plan before it runs: what would run or be skipped, why, and how long it will take; and predictions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tasks.core.redact import clean
from tasks.core.units import count
from tasks.engine.estimate import Estimate, estimate
from tasks.engine.step import Bounds, Step
from tasks.view.console import PIPED, cells, chain, seconds, table, wrap

if TYPE_CHECKING:
    from tasks.rehearsal.what_if import Prediction


def mermaid(steps: Sequence[Step], history: Mapping[str, float], bounds: Bounds) -> list[str]:
    """A Mermaid flowchart; skipped steps are dashed, the critical path is drawn bold."""
    path = estimate(steps, history, bounds).critical_path
    ids = _ids(steps)
    lines = ["flowchart LR"]
    lines += [f'  {ids[s.name]}["{_entities(s.name)}{_mermaid_time(s, history)}"]' for s in steps]
    lines += [f"  {ids[need]} --> {ids[s.name]}" for s in steps for need in s.needs]
    skipped = [ids[s.name] for s in steps if s.skip is not None]
    if skipped:
        lines += ["  classDef skipped stroke-dasharray:4 4,color:#777", f"  class {','.join(skipped)} skipped"]
    if path:
        lines += ["  classDef critical stroke-width:3px", f"  class {','.join(ids[n] for n in path)} critical"]
    return lines


def dot(steps: Sequence[Step], history: Mapping[str, float], bounds: Bounds) -> list[str]:
    """A Graphviz digraph; skipped steps are dashed, the critical path is drawn bold."""
    path = estimate(steps, history, bounds).critical_path
    ids = _ids(steps)
    lines = ["digraph plan {", "  rankdir=LR;", "  node [shape=box, fontname=sans];"]
    for step in steps:
        style = "dashed" if step.skip is not None else "bold" if step.name in path else "solid"
        label = _quoted(step.name) + (f"\\n{seconds(history[step.name])}" if _timed(step, history) else "")
        lines.append(f'  {ids[step.name]} [label="{label}", style={style}];')
    for step in steps:
        for need in step.needs:
            bold = " [style=bold]" if (need, step.name) in pairwise(path) else ""
            lines.append(f"  {ids[need]} -> {ids[step.name]}{bold};")
    return [*lines, "}"]


def _ids(steps: Sequence[Step]) -> dict[str, str]:
    return {step.name: f"s{number}" for number, step in enumerate(steps)}


def _timed(step: Step, history: Mapping[str, float]) -> bool:
    return step.skip is None and not step.until and step.name in history


def _mermaid_time(step: Step, history: Mapping[str, float]) -> str:
    return f"<br/>{seconds(history[step.name])}" if _timed(step, history) else ""


def _entities(text: str) -> str:
    """Mermaid entities for everything but letters, digits and a few characters without meaning in Mermaid."""
    return "".join(c if c.isalnum() or c in " -_./:," else f"#{ord(c)};" for c in clean(text))


def _quoted(text: str) -> str:
    """For a quoted string of DOT; a backslash would start an escape sequence."""
    return clean(text).replace("\\", "\\\\").replace('"', '\\"')


Renderer = Callable[[Sequence[Step], Mapping[str, float], Bounds], list[str]]


def text(
    steps: Sequence[Step],
    history: Mapping[str, float],
    bounds: Bounds,
    *,
    width: int | None = None,
    arrow: str = "→",
) -> list[str]:
    """A table of the steps, then the expected total, its floor and the critical path.

    Of the needs of a step the table names only the last to end; the other formats have all of them.
    """
    if not steps:
        return ["The plan is empty: there is nothing to do."]
    expected = estimate(steps, history, bounds)
    room = PIPED - max(cells(step.name) for step in steps) - _BEFORE if width is None else None
    rows = [
        [
            "skip" if step.skip is not None else "run",
            _time(step, history),
            step.name,
            _because(step, expected, room),
        ]
        for step in steps
    ]
    lines = table(rows, head=("do", "time", "step", "why, and what it needs"), width=width, right=(1,))
    return [*lines, "", *_totals(steps, expected, bounds, width, arrow)]


def document(steps: Sequence[Step], history: Mapping[str, float], bounds: Bounds) -> dict[str, Any]:
    """The plan as a JSON object; times are seconds, null if unknown."""
    expected = estimate(steps, history, bounds)
    return {
        "schema": 1,
        "expected_s": round(expected.total_s, 3),
        "floor_s": round(expected.floor_s, 3),
        "guessed_steps": expected.unknown,
        "concurrency": bounds.work,
        "steps": [
            {
                "name": step.name,
                "task": step.task,
                "do": "skip" if step.skip is not None else "run",
                "why": step.skip if step.skip is not None else step.why,
                "needs": list(step.needs),
                "wait": step.wait,
                "kind": step.kind,
                "last_s": history.get(step.name),
                "start_s": round(expected.times[step.name][0], 3),
                "end_s": round(expected.times[step.name][1], 3),
            }
            for step in steps
        ],
        "critical_path": list(expected.critical_path),
    }


def as_json(steps: Sequence[Step], history: Mapping[str, float], bounds: Bounds) -> list[str]:
    """The plan as lines of JSON."""
    return json.dumps(document(steps, history, bounds), indent=2, ensure_ascii=False).splitlines()


FORMATS: Mapping[str, Renderer] = {"text": text, "json": as_json, "mermaid": mermaid, "dot": dot}
"""The formats of a plan, by name."""


_BEFORE = len("skip  ~999.9 s    ")
"""Columns of a row besides name and reason: action, time, and gaps."""


def _because(step: Step, expected: Estimate, room: int | None) -> str:
    """Why it is skipped; else the plan's reason to run it, and the need that ends last, or the number, by `room`."""
    if step.skip is not None:
        return step.skip
    if not step.needs:
        return step.why
    last = max(step.needs, key=lambda need: expected.times.get(need, (0.0, 0.0))[1])
    more = f" and {len(step.needs) - 1} more" if len(step.needs) > 1 else ""
    why = f"{step.why}; " if step.why else ""
    named = f"{why}needs {last}{more}"
    return named if room is None or cells(named) <= room else f"{why}needs {count(len(step.needs), 'step')}"


def _time(step: Step, history: Mapping[str, float]) -> str:
    """The time of an earlier run; ~ marks an estimate."""
    if step.skip is not None or step.until:
        return ""
    if step.name in history:
        return seconds(history[step.name])
    return f"~{seconds(step.expected)}" if step.expected is not None else "?"


def _totals(steps: Sequence[Step], expected: Estimate, bounds: Bounds, width: int | None, arrow: str) -> list[str]:
    runs = sum(step.skip is None for step in steps)
    if not runs:
        return [f"Nothing to do: {count(len(steps), 'step')} would be skipped."]
    at_once = f"{count(bounds.work, 'command')} at once"
    took = dict(expected.times)
    pairs = [(name, took[name][1] - took[name][0]) for name in expected.critical_path]
    path = chain(pairs, f" {arrow} ", (width or PIPED) - 16)
    lines = wrap(f"{count(runs, 'step')} would run, {len(steps) - runs} would be skipped; {at_once}.", width)
    total = f"expected total  {seconds(expected.total_s)}"
    if expected.unknown:
        total += f", of which {count(expected.unknown, 'step')} (?) counted as 1 s each: not recorded by an earlier run"
    lines += wrap(total, width, rest=" " * 16)
    lines.append(f"longest chain   {seconds(expected.floor_s)}")
    lines += [part.replace("`", "") for part in wrap(path, width or PIPED, first="critical path   ")]
    return lines


_SHORT = 0.05
"""Parts of the path that take less are not named."""


def predicted_text(found: Prediction, steps: Sequence[Step], width: int | None) -> list[str]:
    """A prediction: a table of the steps, then total, floor, critical path, what would help, and its basis."""
    rows = []
    for step in steps:
        if step.until:
            continue
        span = found.times.get(step.name)
        at, took = ("", "") if span is None else (seconds(span[0]), seconds(span[1] - span[0]))
        rows.append(["skip" if span is None else "run", at, took, step.name])
    lines = table(rows, head=("do", "at", "takes", "step"), width=width, right=(1, 2))
    path = [(name, took) for name, took in found.path if took >= _SHORT]
    lines += ["", f"expected total  {seconds(found.total_s)}"]
    floor = f"floor           {seconds(found.floor_s)}: with unlimited cores, places and bandwidth"
    lines += wrap(floor, width, rest=" " * 16)
    room = width or PIPED
    chained = chain(path, " → ", room - 16)
    lines += [part.replace("`", "") for part in wrap(chained, room, first="critical path   ")]
    if found.changes:
        best = found.changes[0]
        message = f"helps most      {best.what}: {seconds(best.total_s)}"
        lines += wrap(message, width, rest=" " * 16)
        lines += [
            part
            for each in found.changes[1:]
            for part in wrap(f"                {each.what}: {seconds(each.total_s)}", width, rest=" " * 18)
        ]
    else:
        lines += wrap("helps most      none of the simulated changes gains more than 2 %", width, rest=" " * 16)
    return [*lines, *wrap(f"based on        {found.rests_on}", width, rest=" " * 16)]


def predicted_json(found: Prediction, steps: Sequence[Step], width: int | None) -> list[str]:
    """A prediction as lines of JSON; times are seconds."""
    del width
    document = {
        "schema": 1,
        "expected_s": round(found.total_s, 3),
        "floor_s": round(found.floor_s, 3),
        "critical_path": [{"what": name, "seconds": round(took, 3)} for name, took in found.path],
        "changes": [{"what": each.what, "expected_s": round(each.total_s, 3)} for each in found.changes],
        "rests_on": found.rests_on,
        "steps": [
            {
                "name": step.name,
                "start_s": round(found.times[step.name][0], 3),
                "end_s": round(found.times[step.name][1], 3),
            }
            for step in steps
            if step.name in found.times
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False).splitlines()


PREDICTED: Mapping[str, Callable[[Prediction, Sequence[Step], int | None], list[str]]] = {
    "text": predicted_text,
    "json": predicted_json,
}
"""The formats of a prediction, by name."""
