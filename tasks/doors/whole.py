"""Tasks about the whole environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.run.task import task

if TYPE_CHECKING:
    from tasks.run.session import Session


@task(
    help={
        "recreate": "make the cluster anew where k3d cannot change it in place",
        "rollback": "if it fails, remove what this run made",
        "clear_pending": "clear releases that a Helm has left pending, even if it may be at work on them",
    }
)
def up(session: Session, recreate: bool = False, rollback: bool = False, clear_pending: bool = False) -> int | None:
    """Bring up the whole environment: only what is missing or changed."""
    session.clear_pending = clear_pending
    session.ask_ahead()
    from tasks.up import up as act

    return act(session, recreate=recreate, rollback=rollback)


@task(
    help={
        "stop": "only stop the nodes",
        "purge": "also remove the registries and their caches",
        "yes": "with --engine existing: do not ask",
    }
)
def down(session: Session, stop: bool = False, purge: bool = False, yes: bool = False) -> int | None:
    """Delete this cluster and what was made for it; caches stay."""
    from tasks.down import down as act

    return act(session, stop=stop, purge=purge, yes=yes)


@task(
    "profile",
    "set",
    "engine",
    "context",
    help={
        "format": "text, json, mermaid or dot",
        "recreate": "as `up --recreate` would do",
        "clear_pending": "as `up --clear-pending` would do",
        "line": "expected on a line of this rate, such as 20Mbit",
        "cores": "expected on so many processors",
        "no_cache": "expected if no image were there yet",
        "timing": "expected by the times of config/rehearsal/NAME.yaml",
    },
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
) -> int | None:
    """Show what `up` would do, step by step, and why. Changes nothing."""
    session.clear_pending = clear_pending
    from tasks.plan import show

    return show(session, form=format, recreate=recreate, line=line, cores=cores, no_cache=no_cache, timing=timing)


@task("profile", "set", "engine", "context", help={"format": "text or json"})
def status(session: Session, format: str = "text") -> int | None:  # noqa: A002 - the option's name
    """Compare what stands with what is configured; the exit code tells."""
    from tasks.status import status as act

    return act(session, form=format)


@task("profile", "set", "engine", "context", help={"fix": "run the fixes that are safe", "format": "text or json"})
def doctor(session: Session, fix: bool = False, format: str = "text") -> int | None:  # noqa: A002 - the option's name
    """Check the machine, the engine and the programs before anything starts."""
    from tasks.doctor import doctor as act

    return act(session, fix=fix, form=format)
