"""`docker events` and `docker logs`: what has happened, and what happens."""

from __future__ import annotations

import json
import re

from tasks.rehearsal import containers
from tasks.rehearsal.docker import Command, daemon
from tasks.rehearsal.times import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from tasks.rehearsal.call import Call
    from tasks.rehearsal.flags import Given

_LOOK = 0.02
"""Seconds between two looks; the time that passes in a rehearsal is real."""


def _moment(text: str, otherwise: float) -> float:
    """Of a Unix time, or an RFC 3339 one."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if text:
        from datetime import datetime

        return datetime.fromisoformat(text).timestamp()
    return otherwise


def _passes(event: Mapping[str, Any], filters: Mapping[str, list[str]]) -> bool:
    attributes = event["Actor"]["Attributes"]
    for key, values in filters.items():
        if key == "label":
            for value in values:
                name, sign, wanted = value.partition("=")
                if not (attributes.get(name) == wanted if sign else name in attributes):
                    return False
        elif key == "container":
            if attributes["name"] not in values and event["Actor"]["ID"] not in values:
                return False
        elif key in ("event", "type") and event["Action" if key == "event" else "Type"] not in values:
            return False
    return True


def _events(call: Call, given: Given) -> None:
    filters: dict[str, list[str]] = {}
    for row in given.all("filter"):
        key, _, value = row.partition("=")
        filters.setdefault(key, []).append(value)
    last, until = _moment(given.get("since"), call.now()), _moment(given.get("until"), float("inf"))
    fault = call.faults.strike("engine-restarts", "engine")
    breaks = call.now() + call.times.scale * float(fault.get("after") or 0.0) if fault is not None else float("inf")
    while True:
        now = min(call.now(), until)
        if now >= breaks and containers.labelled(call.engine.read(), role="server"):
            raise daemon("unexpected EOF")
        for event in containers.events(call.engine.read(), last, now):
            if _passes(event, filters):
                call.say(json.dumps(event) if "json" in given.get("format") else _line(event))
        last = now
        if now >= until:
            return
        call.times.wait(_LOOK)


def _line(event: Mapping[str, Any]) -> str:
    told = ", ".join(f"{key}={value}" for key, value in event["Actor"]["Attributes"].items())
    return f"{stamp(event['timeNano'] / 1e9)} container {event['Action']} {event['Actor']['ID']} ({told})"


def _logs(call: Call, given: Given) -> None:
    (ref,) = given.args
    container = containers.find(call.engine.read(), ref)
    if container is None:
        raise daemon(f"No such container: {ref}")
    since = _moment(given.get("since"), 0.0)
    first = [row for row in containers.lines(container, call.now()) if row[0] >= since]
    tail = given.get("tail", "all")
    if tail.isdigit():
        first = first[-int(tail) :] if int(tail) else []
    last = call.now()
    _tell(call, first)
    while given.on("follow"):
        container = containers.find(call.engine.read(), ref)
        if container is None:
            return
        now = call.now()
        _tell(call, [row for row in containers.lines(container, now) if last < row[0] <= now and row[0] >= since])
        last = now
        if not containers.running(container, now) and not containers.restarting(container, now):
            return
        call.times.wait(_LOOK)


def _tell(call: Call, rows: list[Any] | Iterator[Any]) -> None:
    for _, stream, text in rows:
        (call.say if stream == "stdout" else call.warn)(text)


COMMANDS = {
    "events": Command("events [OPTIONS]", "filter,f=l format=s since=s until=s", _events, most=0),
    "logs": Command(
        "logs [OPTIONS] CONTAINER", "follow,f since=s until=s tail,n=s timestamps,t details", _logs, least=1, most=1
    ),
}
