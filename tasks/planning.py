"""`invoke plan`: the same plan that `up` would run, shown."""

from __future__ import annotations

import sys
from dataclasses import replace

from tasks import removal
from tasks.cluster.config import changed
from tasks.engine.step import Step
from tasks.errors import BadInput
from tasks.facts.standing import Presence
from tasks.fetching import fetch_plan
from tasks.hostports import anew, choosers
from tasks.launch import bounds, launch
from tasks.session import Session
from tasks.situation import Situation
from tasks.survey import survey
from tasks.up import parts_of, refuse_options


def show(session: Session, *, form: str, recreate: bool) -> int:
    """Text, JSON, Mermaid or DOT. Raises `BadInput` for another format."""
    from tasks.engine.history import history_file, load
    from tasks.view import plan as view
    from tasks.view.output import out, width_of

    if form not in view.FORMATS:
        raise BadInput(
            f"--format is '{form}'", why="a plan is shown in one of four ways", fix="use " + ", ".join(view.FORMATS)
        )
    refuse_options(session, recreate=recreate)
    situation = survey(session, parts_of(session))
    steps = planned(session, situation, recreate=recreate)
    history = load(history_file(session.environ), session.options.engine)
    limits = bounds(situation)
    if form == "text":
        out(view.text(steps, history, limits, width=width_of(sys.stdout)))
        out(_notes(situation, recreate=recreate))
    else:
        out(view.FORMATS[form](steps, history, limits))
    return 0


def planned(session: Session, situation: Situation, *, recreate: bool) -> list[Step]:
    """The steps of `up`, as far as the facts tell: programs that are missing first."""
    before: list[Step] = []
    if recreate and situation.standing.nodes:
        before = removal.steps(situation, removal.remains(situation))
        situation = anew(situation)
    steps = launch(situation, parts_of(session), choosers(situation))
    if before:
        steps = removal.before(before, steps)
    fetched = [step for step in fetch_plan(session) if step.skip is None]
    names = tuple(step.name for step in fetched)
    return [*fetched, *(step if step.needs else replace(step, needs=names) for step in steps)]


def _notes(situation: Situation, *, recreate: bool) -> list[str]:
    """What a table of steps does not say."""
    if situation.engine == "existing" or recreate:
        return []
    notes = []
    presence = situation.standing.presence
    if presence is Presence.STOPPED:
        notes.append("The cluster is stopped: what it lacks shows only when it runs, so the plan shows all of it.")
    if presence in (Presence.RUNNING, Presence.STOPPED):
        differs = changed(situation.settings, situation.shape, situation.standing.label)
        if differs:
            notes.append("`up` will refuse: k3d cannot change in place " + "; ".join(differs) + " (see --recreate).")
    return ["", *notes] if notes else []
