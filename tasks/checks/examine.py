"""All checks, in the order in which they are shown; a new one is one line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from tasks.checks import engine, machine, network, programs
from tasks.checks.facts import HostFacts
from tasks.checks.finding import Finding, Level

Check = Callable[[HostFacts], Iterator[Finding]]
"""Pure: it finds nothing where the facts that it judges were not queried."""

CHECKS: tuple[tuple[str, Check], ...] = (
    ("engine", engine.answers),
    ("engine", engine.files),
    ("platform", engine.platform),
    ("cgroups", engine.cgroups),
    ("storage", engine.storage),
    ("forwarding", engine.forwarding),
    ("unpacking", engine.unpacking),
    ("cluster", engine.owner),
    ("context", programs.context),
    ("k3d", programs.k3d),
    ("kubectl", programs.kubectl),
    ("helm", programs.helm),
    ("cpus", machine.cpus),
    ("memory", machine.memory),
    ("disk", machine.disk),
    ("images", machine.images),
    ("inotify", machine.inotify),
    ("ports", network.ports),
    ("low ports", network.low_ports),
    ("address", network.address),
    ("proxies", network.proxies),
    ("proxies", network.container_proxies),
    ("authorities", network.authorities),
    ("DNS", network.names),
    ("sudo", machine.sudo),
    ("folders", machine.folders),
    ("kubeconfig", machine.kubeconfig),
)
"""Each with the name that its findings bear."""


def examine(facts: HostFacts, checks: Sequence[tuple[str, Check]] = CHECKS) -> list[Finding]:
    """What all checks find."""
    return [replace(finding, check=name) for name, check in checks for finding in check(facts)]


def problems(findings: Sequence[Finding]) -> list[Finding]:
    """Those that would stop a launch."""
    return [finding for finding in findings if finding.level is Level.PROBLEM]
