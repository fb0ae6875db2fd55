"""A plan as a picture: Mermaid and Graphviz text. Names never stand where syntax could read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from tasks.engine.estimate import estimate
from tasks.engine.step import Bounds, Step
from tasks.view.fit import clean, seconds


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
    """Mermaid's own entities for everything but letters, digits and a few signs that mean nothing to it."""
    return "".join(c if c.isalnum() or c in " -_./:," else f"#{ord(c)};" for c in clean(text))


def _quoted(text: str) -> str:
    """For a quoted string of DOT; a backslash would begin an escape of its own."""
    return clean(text).replace("\\", "\\\\").replace('"', '\\"')
