"""Nodes started one after another, as k3d does it, each when those before are up."""

from __future__ import annotations

import time

from tasks.rehearsal import containers, node, starting
from tasks.rehearsal.flags import seconds
from tasks.rehearsal.k3d_words import fatal, info

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tasks.rehearsal.call import Call

_LOOK = 0.02
_ENDLESS = 3600.0


def limit(text: str) -> float:
    """Seconds of a time-out; endless if none is given."""
    return seconds(text) or _ENDLESS


def start(call: Call, name: str, end: float) -> None:
    """Start servers, agents and helpers in turn, each when those before are up. Raises `Exit`."""
    info(call, f"Starting cluster '{name}'")
    info(call, "Starting servers...")
    for each in containers.labelled(call.engine.read(), cluster=name, role="server"):
        begin(call, each["name"])
        until(call, each["name"], "up", node.UP, end)
    agents = containers.labelled(call.engine.read(), cluster=name, role="agent")
    if agents:
        info(call, "Starting agents...")
    for each in agents:
        begin(call, each["name"])
    for each in agents:
        until(call, each["name"], "ready", node.REGISTERED, end)
    helpers = containers.labelled(call.engine.read(), cluster=name, role="loadbalancer")
    if helpers:
        info(call, "Starting helpers...")
    for each in helpers:
        begin(call, each["name"])
        until(call, each["name"], "answers", node.BALANCING, end)


def begin(call: Call, name: str) -> None:
    """Start a node's container. Raises `Exit` for what the engine refuses."""
    info(call, f"Starting node '{name}'")
    with call.engine.change() as doc:
        container = containers.find(doc, name)
        if container is None:
            raise fatal(f"Failed to start node {name}: docker failed to get container for node '{name}'")
        why = starting.start(call, doc, container, call.now())
    if why:
        raise fatal(
            f"Failed to start node {name}: runtime failed to start node '{name}': Error response from daemon: {why}"
        )


def until(call: Call, name: str, mark: str, line: str, end: float) -> None:
    """Wait for a line in a node's log, as k3d does: for a moment of its life. Raises `Exit` when the time is over."""
    while True:
        container = containers.find(call.engine.read(), name)
        if container is None:
            raise fatal(f"Node {name} failed to get ready: Failed to get container for node '{name}'")
        if containers.reached(container, mark, call.now()):
            return
        if call.now() >= end:
            told = f"error waiting for log line `{line}` from node '{name}': stopped returning log lines"
            raise fatal(f"Node {name} failed to get ready: {told}: context deadline exceeded")
        time.sleep(_LOOK)
