"""What may be done as root, and written as the user."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.checks.facts import Facts
from tasks.checks.finding import Finding, Level


def sudo(facts: Facts) -> Iterator[Finding]:
    """No launch needs it: `docker-tune` and some fixes do."""
    rights = facts.rights
    if rights is None:
        return
    if rights.enough:
        yield Finding(check="sudo", level=Level.OK, what="you are root" if rights.root else "works without a password")
        return
    what = "there is none" if rights.sudo is None else "asks for a password"
    if facts.settings.docker.tune == "auto":
        yield Finding(
            check="sudo",
            level=Level.WARNING,
            what=f"{what}, and docker.tune is auto",
            why="Docker's daemon.json belongs to root, so it will be left as it is",
            fix="`sudo invoke docker-tune` once, or docker.tune off",
        )
    else:
        yield Finding(check="sudo", level=Level.OK, what=f"{what}: what needs root is left to you")


def folders(facts: Facts) -> Iterator[Finding]:
    """What is remembered of clusters, and their private kubeconfigs."""
    error = facts.folders
    if error is not None:
        yield Finding(check="folders", level=Level.PROBLEM, what=error.what, why=error.why, fix=error.fix)


def kubeconfig(facts: Facts) -> Iterator[Finding]:
    """A launch goes on without: its private kubeconfig is always there."""
    if facts.unwritable:
        yield Finding(
            check="kubeconfig",
            level=Level.WARNING,
            what=f"your kubeconfig cannot be written: {facts.unwritable}",
            why="the cluster's entry will not be put into the first file of KUBECONFIG",
            fix="mount or make it writable, or name another one in KUBECONFIG; or kubeconfig.merge=false",
        )
