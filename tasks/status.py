"""What stands now against what is configured."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

from tasks.core.errors import ABSENT, DRIFTED, OK, STOPPED, BadInput
from tasks.facts.cluster import Presence
from tasks.facts.facts import Facts
from tasks.facts.gather import survey
from tasks.k3d import kubeconfig
from tasks.k3d.ports import choosers
from tasks.k3d.recorded import differences
from tasks.run import components
from tasks.run.launch import launch
from tasks.run.session import Session
from tasks.up import parts_of


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thing: `state` is ok, absent, stopped, changed, starting, or not as configured."""

    what: str
    state: str
    detail: str = ""


def status(session: Session, *, form: str) -> int:
    """Show it; the exit code says it in one number: 0 as configured, 3 stopped, 4 absent, 5 drifted."""
    from tasks.view.console import out, width_of
    from tasks.view.table import table

    if form not in ("text", "json"):
        raise BadInput(f"--format is '{form}'", why="there are two", fix="use text or json")
    facts = survey(session, parts_of(session))
    rows, code = judge(session, facts)
    if form == "json":
        document = {"cluster": session.name, "exit_code": code, "rows": [vars(row) for row in rows]}
        out([json.dumps(document, indent=1)])
    else:
        cells = [[row.what, row.state, row.detail] for row in rows]
        out(table(cells, head=("what", "state", "detail"), width=width_of(sys.stdout)))
    return code


def judge(session: Session, facts: Facts) -> tuple[list[Row], int]:
    """Rows and exit code. A step that `up` would run is what is not as configured."""
    presence = facts.cluster.presence
    name = session.name
    if facts.engine != "existing":
        if presence in (Presence.ABSENT, Presence.INCOMPLETE):
            why = "" if presence is Presence.ABSENT else "its creation was not completed"
            return [Row(what=f"cluster {name}", state="absent", detail=why or "invoke up makes it")], ABSENT
        if presence is Presence.STOPPED:
            down = [node.condition for node in facts.cluster.nodes if not node.running]
            return [Row(what=f"cluster {name}", state="stopped", detail=", ".join(down))], STOPPED
    rows = [_cluster(facts, name)]
    differs = differences(facts)
    rows += [Row(what="setting", state="changed", detail=text) for text in differs]
    rows += _starting(facts)
    for step in launch(facts, parts_of(session), choosers(facts)):
        if step.until or step.name == kubeconfig.SWITCH:  # which context is the current one, is the user's choice
            continue
        waits = "starting" if step.name == components.IN_USE else "not as configured"
        state = "ok" if step.skip is not None else waits
        rows.append(Row(what=step.name, state=state, detail=step.skip or step.why))
    return rows, OK if all(row.state in ("ok", "starting") for row in rows) else DRIFTED


def _starting(facts: Facts) -> list[Row]:
    """Components that become ready by themselves: no drift."""
    if facts.live is None:
        return []
    late = components.starting(facts.live, components.waited_for(facts))
    return [Row(what=f"component {name}", state="starting", detail="`invoke health` waits for it") for name in late]


def _cluster(facts: Facts, name: str) -> Row:
    if facts.engine == "existing":
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
