"""`invoke plan`: the same plan that `up` would run, shown."""

from __future__ import annotations

import sys
from dataclasses import replace

from tasks import removal
from tasks.cluster.config import changed
from tasks.engine.step import Step
from tasks.errors import BadInput
from tasks.facts.standing import Presence
from tasks.launch import bounds, launch
from tasks.session import Session
from tasks.situation import Situation
from tasks.survey import choosers, survey
from tasks.up import parts_of


def show(session: Session, *, form: str, recreate: bool) -> int:
    """Text, JSON, Mermaid or DOT. Raises `BadInput` for another format."""
    from tasks.engine.history import history_file, load
    from tasks.view import plan as view
    from tasks.view.output import out, width_of

    if form not in view.FORMATS:
        raise BadInput(
            f"--format is '{form}'", why="a plan is shown in one of four ways", fix="use " + ", ".join(view.FORMATS)
        )
    situation = survey(session, parts_of(session))
    steps = planned(session, situation, recreate=recreate)
    history = load(history_file(session.environ), session.options.engine)
    limits = bounds(situation)
    if form == "text":
        out(view.text(steps, history, limits, width=width_of(sys.stdout)))
        out(_notes(situation))
    else:
        out(view.FORMATS[form](steps, history, limits))
    return 0


def planned(session: Session, situation: Situation, *, recreate: bool) -> list[Step]:
    """The steps of `up`, as far as the facts tell."""
    if recreate and situation.standing.nodes:
        before = removal.steps(situation, removal.remains(situation))
        absent = replace(situation.standing, presence=Presence.ABSENT, nodes=())
        situation = replace(situation, standing=absent, live=None)
        return removal.before(before, launch(situation, parts_of(session), choosers(situation)))
    return launch(situation, parts_of(session), choosers(situation))


def _notes(situation: Situation) -> list[str]:
    """What a table of steps does not say."""
    if situation.engine == "existing":
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
