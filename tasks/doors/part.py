"""Tasks for one part of a launch, and for what it is made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.run.task import task

if TYPE_CHECKING:
    from tasks.run.session import Session


@task("profile", "set", "engine", "keep_going")
def prepull(session: Session) -> int | None:
    """Pull the images that the engine will ask for, at the same time."""
    session.ask_ahead()
    from tasks.run.part import part

    return part(session, "prepull")


@task(
    "profile",
    "set",
    "engine",
    "keep_going",
    "wait_lock",
    help={"purge": "remove the registries with all that they keep", "status": "size and hit rate of each"},
)
def registry(session: Session, purge: bool = False, status: bool = False) -> int | None:
    """Start the push registry and the pull-through caches."""
    from tasks.registry import registries as act

    return act(session, purge=purge, status=status)


@task(
    "profile",
    "set",
    "engine",
    "keep_going",
    "wait_lock",
    help={"recreate": "make it anew where k3d cannot change it in place"},
)
def cluster(session: Session, recreate: bool = False) -> int | None:
    """Create or start the k3d cluster, with the images and registries that it needs."""
    session.ask_ahead()
    from tasks.up import cluster as act

    return act(session, recreate=recreate)


@task()
def namespaces(session: Session) -> int | None:
    """Create all namespaces at once."""
    session.ask_ahead()
    from tasks.run.part import part

    return part(session, "namespaces")


@task()
def secrets(session: Session) -> int | None:
    """Put each secret into each of its namespaces."""
    session.ask_ahead()
    from tasks.run.part import part

    return part(session, "secrets")


@task()
def manifests(session: Session) -> int | None:
    """Apply the base resources and your own manifests."""
    session.ask_ahead()
    from tasks.run.part import part

    return part(session, "manifests")


@task(help={"clear_pending": "clear releases that a Helm has left pending, even if it may be at work on them"})
def helm(session: Session, clear_pending: bool = False) -> int | None:
    """Install or upgrade the releases by their needs, and wait until they are ready."""
    session.clear_pending = clear_pending
    session.ask_ahead()
    from tasks.run.part import part

    return part(session, "helm")


@task("profile", "set", "engine", "context")
def health(session: Session) -> int | None:
    """Ask the API's endpoints, nodes, system and base services until all are well."""
    session.ask_ahead()
    from tasks.run.part import part

    return part(session, "health")
