"""`invoke config`: the configuration in force, and where each value came from."""

from __future__ import annotations

import sys

from tasks.core.errors import BadInput
from tasks.run.session import Session


def configuration(session: Session, *, form: str, only: str) -> int:
    """Text or JSON; `only` the paths that begin so."""
    from tasks.settings.explain import as_json, as_rows
    from tasks.view.console import out, width_of
    from tasks.view.table import table

    if form not in ("text", "json"):
        raise BadInput(f"--format is '{form}'", why="there are two", fix="use text or json")
    rows = as_rows(session.resolved, only)
    if not rows:
        raise BadInput(f"no setting begins with '{only}'", why="paths are dotted names", fix="invoke config shows all")
    if form == "json":
        out([as_json(session.resolved, only)])
        return 0
    out(table(rows, head=("setting", "value", "set by"), width=width_of(sys.stdout)))
    return 0
