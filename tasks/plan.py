"""`invoke plan`: the plan that `up` would run, shown."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from tasks import cluster, up
from tasks.core.errors import DRIFTED, OK, BadInput
from tasks.engine.estimate import expecting, history_file, load
from tasks.run.task import task
from tasks.settings.derived import HELM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.engine.step import Bounds, Step
    from tasks.facts.facts import Facts
    from tasks.rehearsal.what_if import WhatIf
    from tasks.run.session import Session


@task(
    "profile",
    "set",
    "engine",
    "context",
    help={
        "format": "text, json, mermaid or dot",
        "diff": "show what would change, field by field, instead of the steps",
        "exit_code": "with --diff: exit with 5 if anything would change",
        "recreate": "plan of `up --recreate`",
        "clear_pending": "plan of `up --clear-pending`",
        "snapshot": "plan of `up --snapshot`",
        "line": "predict for this bandwidth, such as 20Mbit",
        "cores": "predict for this number of CPUs",
        "no_cache": "predict without any cached image",
        "timing": "predict from the times of config/rehearsal/NAME.yaml",
    },
    values={"format": ("text", "json", "mermaid", "dot")},
)
def plan(
    session: Session,
    format: str = "text",  # noqa: A002 - the option's name
    recreate: bool = False,
    line: str = "",
    cores: str = "",
    no_cache: bool = False,
    timing: str = "",
    clear_pending: bool = False,
    diff: bool = False,
    exit_code: bool = False,
    snapshot: str = "",
) -> int:
    """Show what `up` would do, step by step, and why. Changes nothing."""
    from tasks.rehearsal.what_if import what_if
    from tasks.run.gather import gather
    from tasks.run.session import bounds
    from tasks.view import plan as view
    from tasks.view.console import out, width_of

    session.clear_pending = clear_pending
    if snapshot:
        from tasks.run.snapshots import restoring

        with restoring(session, snapshot, acts=False):
            pass
    if format not in view.FORMATS:
        raise BadInput(f"--format is '{format}'", why="a plan has four formats", fix="use " + ", ".join(view.FORMATS))
    conditions = what_if(cores=cores, line=line, no_cache=no_cache, timing=timing)
    if diff or exit_code:
        _check_diff(format, diff=diff, conditions=conditions)
    up.refuse_options(session, recreate=recreate)
    facts = gather(session, session.backend.parts, live=not recreate)
    steps = planned(session, facts, recreate=recreate)
    if conditions.asked:
        return _predict(session, conditions, steps, facts, form=format)
    history = load(history_file(session.environ), session.options.engine)
    if diff:
        from tasks.run.difference import show

        document = view.document(steps, history, bounds(facts)) if format == "json" else None
        return show(facts, steps, document=document, recreate=recreate, code=DRIFTED if exit_code else OK)
    if format == "text":
        out(view.text(steps, history, bounds(facts), width=width_of(sys.stdout)))
        out(_notes(facts, recreate=recreate))
    else:
        out(view.FORMATS[format](steps, history, bounds(facts)))
    return 0


def _check_diff(form: str, *, diff: bool, conditions: WhatIf) -> None:
    """Raises `BadInput` for options that cannot be combined."""
    if not diff:
        raise BadInput("--exit-code needs --diff", why="it says whether anything would change", fix="add --diff")
    if form not in ("text", "json"):
        raise BadInput(f"--format is '{form}', with --diff", why="it has two formats", fix="use text or json")
    if conditions.asked:
        raise BadInput(
            "--diff has no meaning with --line, --cores, --no-cache or --timing",
            why="those predict how long it takes, and --diff shows what would change",
            fix="use one of the two",
        )


def _predict(session: Session, conditions: WhatIf, steps: Sequence[Step], facts: Facts, *, form: str) -> int:
    """How long the plan would take under these conditions, and which change would help most."""
    from tasks.rehearsal.model import load_profile
    from tasks.rehearsal.what_if import predict
    from tasks.view import plan as view
    from tasks.view.console import out, width_of

    if form not in view.PREDICTED:
        raise BadInput(
            f"--format is '{form}', with --line, --cores, --no-cache or --timing",
            why="a prediction has the formats text and json",
            fix="use " + " or ".join(view.PREDICTED),
        )
    profile = load_profile(session.root, conditions.timing)
    steps = expecting(steps, load(history_file(session.environ), session.options.engine))
    found = predict(profile, conditions, steps, facts, _bounds(facts, conditions))
    out(view.PREDICTED[form](found, steps, width_of(sys.stdout)))
    return 0


def _bounds(facts: Facts, conditions: WhatIf) -> Bounds:
    """More CPUs make a larger pool, unless its size is set."""
    import math

    from tasks.facts.machine import sizing
    from tasks.run.session import bounds

    limits = bounds(facts)
    if conditions.cores is None or facts.settings.pool.concurrency is not None or facts.host is None:
        return limits
    wider = sizing(math.ceil(conditions.cores), facts.host.memory_bytes).concurrency
    return replace(limits, work=wider, kinds={**limits.kinds, HELM: facts.settings.pool.helm or wider})


def planned(session: Session, facts: Facts, *, recreate: bool) -> list[Step]:
    """The steps of `up`, as far as the facts show: missing programs first."""
    from tasks.host.programs import fetch_plan
    from tasks.k3d import removal
    from tasks.k3d.ports import choosers, without_cluster
    from tasks.run.provision import restorable

    before: list[Step] = []
    if recreate and facts.cluster.nodes:
        before = cluster.removal_steps(facts)
        facts = without_cluster(facts)
    if facts.restore is not None:
        facts = restorable(facts)
    steps = cluster.start_steps(facts, choosers(facts)) if facts.restore else up.steps(facts, choosers(facts))
    if before:
        steps = removal.before(before, steps)
    fetched = [step for step in fetch_plan(session) if step.skip is None]
    names = tuple(step.name for step in fetched)
    return [*fetched, *(step if step.needs else replace(step, needs=names) for step in steps)]


def _notes(facts: Facts, *, recreate: bool) -> list[str]:
    """What a table of steps does not show."""
    from tasks.facts.cluster import Presence
    from tasks.k3d.recorded import differences

    if facts.restore is not None:
        return ["", "The differences of the restored cluster are visible only when it runs: `up` then does the rest."]
    if not facts.owns_cluster or recreate:
        return []
    notes = []
    presence = facts.cluster.presence
    if presence is Presence.STOPPED:
        state = "paused" if facts.cluster.only_paused else "stopped"
        notes.append(f"The cluster is {state}: differences are visible only when it runs, so the plan shows all of it.")
    if presence.complete:
        differs = differences(facts)
        if differs:
            notes.append("`up` will refuse: k3d cannot change in place " + "; ".join(differs) + " (see --recreate).")
    return ["", *notes] if notes else []
