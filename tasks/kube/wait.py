"""Waiting until objects of the cluster are ready; why they are not is told when it is known, not when time is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tasks.core.errors import LaunchError
from tasks.engine.step import Context
from tasks.kube.client import Api, ApiError, NotInTime
from tasks.kube.readiness import workload_ready
from tasks.kube.resources import Key, Resources, live
from tasks.kube.watch import direct_of, watch_until

if TYPE_CHECKING:
    from tasks.diagnose.workloads import Trouble
    from tasks.facts.facts import Facts

_LOOK_CLOSER = 2.0
"""Seconds between two questions for the pods of what is not ready."""
_LASTS = 4.0
"""Seconds that a trouble may pass in before it is doubted that it will."""
_JUST_MADE = 60
"""Seconds before a wait in which what it waits for may have been made. What is older had its trouble before; it may
have been mended since, and needs its time to be tried again."""


class Failed(LaunchError):
    """Something that is waited for will not become ready."""


def wait_ready(
    api: Api,
    keys: Sequence[Key] | Callable[[Api], Sequence[Key]],
    context: Context,
    *,
    jobs: bool = True,
    doubt: Callable[[Trouble], Trouble] = lambda trouble: trouble,
) -> list[str]:
    """Wait until all are there and ready; what each has come to. Raises `NotInTime`, `Failed`, `ApiError`.

    `jobs`: Jobs are waited for until they are done, not only until they run.

    `keys` may be a function, asked again at each look: what is ready may have brought more, so all must be ready
    twice, and be the same; a feed's word and the API's own are two. `doubt` looks closer at a trouble that may pass
    and has not done so for some seconds.
    """
    direct = direct_of(api)
    resources = Resources(direct)
    late: dict[Key, Mapping[str, Any] | None] = {}
    words: dict[Key, str] = {}
    before: set[Key] = set()
    closer = time.monotonic() + _LOOK_CLOSER
    lasts = _Lasting(doubt)
    since = f"{datetime.now(UTC) - timedelta(seconds=_JUST_MADE):%Y-%m-%dT%H:%M:%SZ}"

    def look(api: Api) -> list[str] | None:
        nonlocal closer
        wanted = list(keys(api) if callable(keys) else keys)
        there = live(api, resources, wanted)
        late.clear()
        told = []
        for key in wanted:
            good, words[key] = judged(there[key], jobs=jobs, nodes=lambda: known_nodes(api))
            if good:
                told.append(f"{named(key)}: {words[key]}" if words[key] else named(key))
            else:
                late[key] = there[key]
        context.say(f"{len(wanted) - len(late)} of {len(wanted)} are ready")
        if late and time.monotonic() >= closer:
            _raise_if_hopeless(api, late, since, lasts)
            closer = time.monotonic() + _LOOK_CLOSER
        settled = api is not direct or not callable(keys) or before == set(wanted)
        before.clear()
        before.update(wanted if not late else ())
        return told if not late and settled else None

    try:
        said = lambda: "; ".join(f"{named(key)}: {words[key]}" for key in late)  # noqa: E731 - a word for the wait
        return watch_until(api, look, context, telling=said)
    except NotInTime as error:
        raise _explained(api, late, error, doubt) from None


class _Lasting:
    """A trouble that may pass, and for how long it has not."""

    def __init__(self, doubt: Callable[[Trouble], Trouble]) -> None:
        self._doubt = doubt
        self._what, self._since = "", 0.0

    def judged(self, found: Trouble | None) -> Trouble | None:
        """The same, looked at closely when it has lasted."""
        now = time.monotonic()
        if found is None or found.what != self._what:
            self._what, self._since = found.what if found is not None else "", now
        elif not found.hopeless and now - self._since >= _LASTS:
            return self._doubt(found)
        return found


def _raise_if_hopeless(api: Api, late: Mapping[Key, Mapping[str, Any] | None], since: str, lasts: _Lasting) -> None:
    from tasks.kube.unready import trouble

    found = lasts.judged(trouble(api, late, since=since))
    if found is not None and found.hopeless:
        raise Failed(found.what, why=found.why, fix=found.fix)


def _explained(
    api: Api,
    late: Mapping[Key, Mapping[str, Any] | None],
    error: NotInTime,
    doubt: Callable[[Trouble], Trouble],
) -> NotInTime:
    """The same with what keeps the first of them, where the cluster tells."""
    from tasks.kube.unready import trouble

    found = trouble(api, late, events=True)
    if found is None:
        return error
    found = doubt(found)
    why = ": ".join(text for text in (found.what, found.why) if text)
    return NotInTime(error.what, why=f"{error.why}. {why}" if error.why else why, fix=found.fix or error.fix)


def judged(
    item: Mapping[str, Any] | None,
    *,
    jobs: bool = True,
    nodes: Callable[[], Sequence[Mapping[str, Any]] | None] = lambda: None,
) -> tuple[bool, str]:
    """As `workload_ready`; what is not there is not ready."""
    return workload_ready(item, jobs=jobs, nodes=nodes) if item is not None else (False, "it is not there")


def known_nodes(api: Api) -> list[Mapping[str, Any]] | None:
    """The cluster's nodes; None where they may not be read."""
    try:
        return list(api.get("/api/v1/nodes")["items"] or ())
    except ApiError as error:
        if error.code == 403:
            return None
        raise


def named(key: Key) -> str:
    """For people: deployment/web."""
    return f"{key.kind.lower()}/{key.name}"


class Silent(LaunchError):
    """The API has gone silent in the middle of a launch, and has not come back."""


def answers_again(facts: Facts, context: Context) -> None:
    """Before another attempt: wait until the API is ready, at most `timeouts.api` seconds.

    A server whose k3s has ended is started again by the engine, and is back after some seconds: longer than the pauses
    between attempts. Raises `Silent`, with what is known of the nodes, and
    `ApiError` where the API that is back refuses this login.
    """
    if context.attempt == 1:
        return
    from tasks.kube.client import NotInTime, until_ready

    seconds = min(context.deadline, facts.settings.timeouts.api)
    try:
        until_ready(facts.api, replace(context, deadline=seconds))
    except NotInTime:
        ended = "; ".join(facts.outputs.ended.values())
        raise Silent(
            f"the API of the cluster '{facts.name}' went silent, and was not back within {seconds:g} s",
            why=ended or "its nodes' containers run",
            fix=f"docker logs k3d-{facts.name}-server-0 tells why; `invoke up` goes on from here"
            if facts.engine != "existing"
            else "ask those who run the cluster; `invoke up --engine existing` goes on from here",
        ) from None
