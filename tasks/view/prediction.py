"""A prediction: expected total, floor, critical path, which change would help most, and what all that rests on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks.view.console import chain, seconds, wrap
from tasks.view.table import table

if TYPE_CHECKING:
    from tasks.engine.step import Step
    from tasks.rehearsal.what_if import Answer

_SHORT = 0.05
"""Parts of the path that take less are not named."""


def text(found: Answer, steps: Sequence[Step], width: int | None) -> list[str]:
    """A table of the steps, then the totals."""
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
    floor = f"floor           {seconds(found.floor_s)}: with endless cores, places and line"
    lines += wrap(floor, width, rest=" " * 16)
    arrow, inner = " → ", None if width is None else width - 16
    lines += [part.replace("`", "") for part in wrap(chain(path, arrow, inner), width, first="critical path   ")]
    if found.changes:
        best = found.changes[0]
        said = f"helps most      {best.what}: {seconds(best.total_s)}"
        lines += wrap(said, width, rest=" " * 16)
        lines += [
            part
            for each in found.changes[1:]
            for part in wrap(f"                {each.what}: {seconds(each.total_s)}", width, rest=" " * 18)
        ]
    else:
        lines += wrap("helps most      nothing that was tried gains more than 2 %", width, rest=" " * 16)
    return [*lines, *wrap(f"this rests on   {found.rests_on}", width, rest=" " * 16)]


def document(found: Answer, steps: Sequence[Step]) -> dict[str, Any]:
    """The same as a JSON object; times are seconds."""
    return {
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


def as_json(found: Answer, steps: Sequence[Step], width: int | None) -> list[str]:
    """The same as lines of JSON."""
    del width
    return json.dumps(document(found, steps), indent=2, ensure_ascii=False).splitlines()


FORMATS: Mapping[str, Callable[[Answer, Sequence[Step], int | None], list[str]]] = {"text": text, "json": as_json}
