"""`invoke status`: the actual state compared with the configuration.

The exit code is 0 for a cluster as configured, 3 for a stopped or paused one, 4 if there is none, and 5
for drift.
"""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tasks import up
from tasks.core.errors import ABSENT, DRIFTED, OK, STOPPED, BadInput
from tasks.run.task import check_format, task

if TYPE_CHECKING:
    from tasks.facts.facts import Facts
    from tasks.run.session import Session


@task(
    "profile",
    "set",
    "engine",
    "context",
    help={
        "format": "text or json",
        "diff": "show what differs, field by field, instead of the rows",
        "exit_code": "with --diff: exit with 5 if anything differs, whatever the cluster's state",
    },
)
def status(
    session: Session,
    format: str = "text",  # noqa: A002 - the option's name
    diff: bool = False,
    exit_code: bool = False,
) -> int:
    """Compare the actual state with the configuration; the exit code reports the result."""
    from tasks.k3d.ports import choosers
    from tasks.run.finish import access
    from tasks.run.gather import gather
    from tasks.view.console import line, out, table, width_of
    from tasks.view.summary import entries

    check_format(format)
    if exit_code and not diff:
        raise BadInput("--exit-code needs --diff", why="`status` always reports by its exit code", fix="add --diff")
    facts = gather(session, session.backend.parts)
    rows, code = judge(facts, session.name)
    exists = code not in (ABSENT, STOPPED)
    steps = up.steps(facts, choosers(facts)) if exists or diff else []
    reach = access(facts, steps, session.options, exists=exists, as_configured=code == OK)
    document = {
        "cluster": session.name,
        "exit_code": code,
        "rows": [vars(row) for row in rows],
        "access": asdict(reach),
    }
    if diff:
        from tasks.run.difference import show

        found = show(facts, steps, document=document if format == "json" else None, code=DRIFTED)
        return found if exit_code or found not in (OK, DRIFTED) else code
    if format == "json":
        out([json.dumps(document, indent=1)])
    else:
        cells = [[row.what, row.state, row.detail] for row in rows]
        width = width_of(sys.stdout)
        out(table(cells, head=("what", "state", "detail"), width=width))
        if not session.settings.silent:
            out([line(), *entries(reach.rows(), width)])
    return code


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row: `state` is ok, absent, stopped, paused, changed, starting, or not as configured."""

    what: str
    state: str
    detail: str = ""


def judge(facts: Facts, name: str) -> tuple[list[Row], int]:
    """Rows and exit code. A step that `up` would run means not as configured."""
    from tasks.facts.cluster import Presence
    from tasks.k3d import kubeconfig
    from tasks.k3d.ports import choosers
    from tasks.k3d.recorded import differences
    from tasks.run import components, own_steps

    presence = facts.cluster.presence
    if facts.owns_cluster:
        if presence.to_create:
            why = "" if presence is Presence.ABSENT else f"{facts.cluster.incomplete}: "
            return [Row(what=f"cluster {name}", state="absent", detail=f"{why}invoke up creates it")], ABSENT
        if presence is Presence.STOPPED:
            down = [node.condition for node in facts.cluster.nodes if not node.running]
            state = "paused" if facts.cluster.only_paused else "stopped"
            return [Row(what=f"cluster {name}", state=state, detail=", ".join(down))], STOPPED
    rows = [_cluster(facts, name)]
    rows += [Row(what="setting", state="changed", detail=text) for text in differences(facts)]
    rows += _starting(facts)
    rows += _left(facts)
    steps = up.steps(facts, choosers(facts))
    always = own_steps.each_time(facts, steps)
    for step in steps:
        if step.until or step.name == kubeconfig.SWITCH:  # the current context is the user's choice
            continue
        waits = "starting" if step.name == components.IN_USE else "not as configured"
        state = "ok" if step.skip is not None or step.name in always else waits
        rows.append(Row(what=step.name, state=state, detail=step.skip or step.why))
    return rows, OK if all(row.state in ("ok", "starting") for row in rows) else DRIFTED


def _starting(facts: Facts) -> list[Row]:
    """Components that will become ready without help: no drift."""
    from tasks.run import components

    if facts.live is None:
        return []
    late = components.starting(facts.live, components.waited_for(facts))
    return [Row(what=f"component {name}", state="starting", detail="`invoke health` waits for it") for name in late]


def _left(facts: Facts) -> list[Row]:
    """Objects that are no longer configured: they may be in use, so they are no drift."""
    from tasks.core.errors import LaunchError, some
    from tasks.run.difference import objects_left

    with contextlib.suppress(LaunchError):  # additional information
        if names := objects_left(facts, facts.backend.parts):
            return [Row(what="objects that stay", state="ok", detail=f"no longer configured: {some(names)}")]
    return []


def _cluster(facts: Facts, name: str) -> Row:
    if not facts.owns_cluster:
        return Row(what=f"context {name}", state="ok", detail="its API answers")
    ports = facts.ports
    published = (
        [
            f"{what} {facts.settings.cluster.bind_address}:{port}"
            for what, port in (("http", ports.http), ("https", ports.https), ("API", ports.first_api))
            if port is not None
        ]
        if ports is not None
        else []
    )
    nodes = [node.name for node in facts.cluster.of("server", "agent")]
    return Row(what=f"cluster {name}", state="ok", detail=f"{', '.join(nodes)}; {', '.join(published)}")
