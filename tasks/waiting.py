"""Waiting until objects of the cluster are ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.engine.step import Context
from tasks.errors import LaunchError
from tasks.facts.readiness import workload_ready
from tasks.tools.kubeapi import Api, wait_until
from tasks.tools.kuberesources import Key, Resources, live


class Failed(LaunchError):
    """Something that is waited for will not become ready."""


def wait_ready(api: Api, keys: Sequence[Key], context: Context) -> list[str]:
    """Wait until all are there and ready; what each has come to. Raises `NotInTime`, `Failed`, `ApiError`."""
    resources = Resources(api)
    late: dict[Key, str] = {}

    def look() -> list[str] | None:
        there = live(api, resources, keys)
        late.clear()
        told = []
        for key in keys:
            good, detail = judged(there[key])
            if good:
                told.append(f"{named(key)}: {detail}" if detail else named(key))
            else:
                late[key] = detail
        context.say(f"{len(keys) - len(late)} of {len(keys)} are ready")
        return told if not late else None

    return wait_until(
        look, context, telling=lambda: "; ".join(f"{named(key)}: {detail}" for key, detail in late.items())
    )


def judged(item: Mapping[str, Any] | None) -> tuple[bool, str]:
    """As `workload_ready`; what is not there is not ready."""
    return workload_ready(item) if item is not None else (False, "it is not there")


def named(key: Key) -> str:
    """For people: deployment/web."""
    return f"{key.kind.lower()}/{key.name}"
