"""All checks, in the order in which they are shown; a new one is one line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tasks.checks import capacity, engine, network, programs, storage
from tasks.checks import finding as rights
from tasks.checks.facts import HostFacts
from tasks.checks.finding import Finding, Level

Check = Callable[[HostFacts], Iterator[Finding]]
"""Pure: it finds nothing where the facts that it judges were not asked for."""

CHECKS: tuple[Check, ...] = (
    engine.answers,
    engine.files,
    engine.platform,
    engine.cgroups,
    engine.storage,
    engine.forwarding,
    engine.unpacking,
    engine.owner,
    programs.context,
    programs.k3d,
    programs.kubectl,
    programs.helm,
    capacity.cpus,
    capacity.memory,
    capacity.disk,
    storage.room,
    storage.pulls,
    capacity.inotify,
    network.ports,
    network.low_ports,
    network.address,
    network.proxies,
    network.container_proxies,
    network.authorities,
    network.names,
    rights.sudo,
    rights.folders,
    rights.kubeconfig,
)


def examine(facts: HostFacts, checks: Sequence[Check] = CHECKS) -> list[Finding]:
    """What all checks find."""
    return [finding for check in checks for finding in check(facts)]


def problems(findings: Sequence[Finding]) -> list[Finding]:
    """Those that would stop a launch."""
    return [finding for finding in findings if finding.level is Level.PROBLEM]
