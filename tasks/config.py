"""`invoke config`: the effective configuration, and the source of each value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.core.errors import BadInput
from tasks.run.task import check_format, task

if TYPE_CHECKING:
    from tasks.run.session import Session


@task("profile", "set", help={"format": "text or json", "only": "only paths with this prefix"})
def config(session: Session, format: str = "text", only: str = "") -> int:  # noqa: A002 - the option's name
    """Show the effective configuration, and which layer set each value."""
    import sys

    from tasks.settings.merge import as_json, as_rows
    from tasks.view.console import out, table, width_of

    check_format(format)
    rows = as_rows(session.resolved, only)
    if not rows:
        raise BadInput(f"no setting begins with '{only}'", why="paths are dotted names", fix="invoke config shows all")
    if format == "json":
        out([as_json(session.resolved, only)])
    else:
        out(table(rows, head=("setting", "value", "set by"), width=width_of(sys.stdout)))
    return 0
