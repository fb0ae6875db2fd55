"""Waiting for a value, for the API, or for objects to be ready; a wait ends early if it cannot succeed."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import quote

from tasks.core.errors import Diagnosis, LaunchError
from tasks.engine.step import Context
from tasks.kube.client import Api, ApiError, permitted, ready
from tasks.kube.objects import Key, Resources, live
from tasks.kube.readiness import just_started, without_probe, workload_ready
from tasks.kube.watch import Watched, direct_of

_T = TypeVar("_T")


class NotInTime(LaunchError):
    """A wait has timed out."""


def not_in_time(context: Context, why: str) -> NotInTime:
    """The error of a wait that has timed out."""
    return NotInTime(
        f"'{context.step}' was not ready within {context.deadline:g} s",
        why=why,
        fix="invoke doctor checks the machine; timeouts.* and the `timeout` of a release are settings",
    )


def poll(
    look: Callable[[], _T | None],
    context: Context,
    *,
    pause: float = 0.2,
    cap: float = 1.0,
    telling: Callable[[], str] = lambda: "",
) -> _T:
    """Call `look` until it returns a value. Raises `NotInTime` with the text of `telling`, `Stopped` when cancelled.

    Transient errors count as "not yet"; others are raised at once.
    """
    end = time.monotonic() + context.deadline
    last = ""
    while True:
        try:
            found = look()
        except ApiError as error:
            if not error.transient:
                raise
            found, last = None, f"{error.what} {error.why}".strip()
        if found is not None:
            return found
        left = end - time.monotonic()
        if left <= 0:
            raise not_in_time(context, telling() or last)
        context.wait(min(pause, left))
        pause = min(cap, pause * 1.3)


_SETTLES = 5.0
"""Seconds that a rejection by a starting server must last until it counts: its clock may be slightly ahead, and the
previous server may still hold the port."""


def api_ready(api: Callable[[], Api], context: Context, *, pause: float = 0.2, cap: float = 1.0) -> None:
    """Wait until the API is ready. Raises `NotInTime`, and what `ready` raises once that has lasted a few seconds."""
    refused: list[tuple[float, ApiError]] = []

    def look() -> bool | None:
        try:
            answer = ready(api())
        except ApiError as error:
            refused.append((time.monotonic(), error))
            if time.monotonic() - refused[0][0] >= _SETTLES:
                raise
            return None
        refused.clear()
        return answer or None

    try:
        poll(look, context, pause=pause, cap=cap)
    except NotInTime:
        if refused:
            raise refused[-1][1] from None
        raise


_LOOK_ANYWAY = 1.0
"""Seconds after which a wait looks again without a change: not everything that it reads is watched."""


_ASK_ANYWAY = 10.0
"""Seconds after which a wait reads from the API itself, whatever the watches report: one may be stalled."""


_GATHER = 0.02
"""Seconds between a change and the next look: changes arrive in groups."""


def watch(
    api: Api,
    look: Callable[[Api], _T | None],
    context: Context,
    *,
    telling: Callable[[], str] = lambda: "",
) -> _T:
    """Call `look` at each change that a watch reports until it returns a value; at intervals without a watch.

    A watch may be behind the writes of the previous step: a value counts only if the API itself confirms
    it. The API itself is also read every few seconds, and at the deadline. Raises as `poll` does.
    """
    if not isinstance(api, Watched):
        return poll(lambda: look(api), context, telling=telling)
    end = time.monotonic() + context.deadline
    last, confirmed = "", time.monotonic()
    forget = context.cancelled.call(api.changes.notify)
    try:
        while True:
            now, seen = time.monotonic(), api.changes.count
            left = end - now
            try:
                if left <= 0 or now - confirmed >= _ASK_ANYWAY or look(api) is not None:
                    confirmed = now
                    if (found := look(api.direct)) is not None:
                        return found
            except ApiError as error:
                if not error.transient:
                    raise
                last = f"{error.what} {error.why}".strip()
            if left <= 0:
                raise not_in_time(context, telling() or last)
            context.wait(0)  # raises if cancelled before the changes were counted
            api.changes.wait(seen, min(_LOOK_ANYWAY, left))
            context.wait(_GATHER)
    finally:
        forget()


_LOOK_CLOSER = 2.0
"""Seconds between two reads of the pods of objects that are not ready."""
_LASTS = 4.0
"""Seconds that a transient cause may last before it is examined closely."""
_JUST_MADE = 60
"""Seconds before a wait in which its objects may have been created. Older ones may have failed before
and been fixed since, and need time for the next retry."""


class Failed(LaunchError):
    """An object will not become ready."""


def wait_ready(
    api: Api,
    keys: Sequence[Key] | Callable[[Api], Sequence[Key]],
    context: Context,
    *,
    jobs: bool = True,
    settle: bool = False,
    diagnose: Callable[[Diagnosis], Diagnosis] = lambda found: found,
) -> list[str]:
    """Wait until all objects exist and are ready; returns the state of each. Raises `NotInTime`, `Failed`, `ApiError`.

    `jobs`: wait until Jobs are complete, not only until they run. `settle`: containers without a readiness probe must
    also have run for some seconds.

    `keys` may be a function, called at each look: ready objects may have created more, so all must be ready
    twice with the same keys; a watch and the API's confirmation are two. `diagnose` examines a transient cause
    that has lasted for some seconds.
    """
    direct = direct_of(api)
    resources = Resources(direct)
    late: dict[Key, Mapping[str, Any] | None] = {}
    words: dict[Key, str] = {}
    before: set[Key] = set()
    closer = time.monotonic() + _LOOK_CLOSER
    lasts = _Lasting(diagnose)
    since = f"{datetime.now(UTC) - timedelta(seconds=_JUST_MADE):%Y-%m-%dT%H:%M:%SZ}"

    def look(api: Api) -> list[str] | None:
        nonlocal closer
        desired = list(keys(api) if callable(keys) else keys)
        there = live(api, resources, desired)
        late.clear()
        reported = []
        for key in desired:
            good, words[key] = judged(there[key], jobs=jobs, nodes=lambda: known_nodes(api))
            item = there[key]
            if good and settle and item is not None and (young := _just_started(direct, item)):
                good, words[key] = False, f"{words[key]}, but {young}"
            if good:
                reported.append(f"{named(key)}: {words[key]}" if words[key] else named(key))
            else:
                late[key] = there[key]
        context.say(f"{len(desired) - len(late)} of {len(desired)} are ready")
        if late and time.monotonic() >= closer:
            _raise_if_permanent(api, late, since, lasts)
            closer = time.monotonic() + _LOOK_CLOSER
        settled = api is not direct or not callable(keys) or before == set(desired)
        before.clear()
        before.update(desired if not late else ())
        return reported if not late and settled else None

    try:
        return watch(api, look, context, telling=lambda: "; ".join(f"{named(key)}: {words[key]}" for key in late))
    except NotInTime as error:
        raise _explained(api, late, error, diagnose) from None


def _just_started(api: Api, item: Mapping[str, Any]) -> str:
    """As `just_started`, for a workload; empty for one whose containers all have a readiness probe."""
    unprobed, selector = without_probe(item)
    if not unprobed:
        return ""
    path = f"/api/v1/namespaces/{item['metadata']['namespace']}/pods?labelSelector={quote(selector, safe='')}"
    return just_started(api.get(path)["items"] or (), unprobed, datetime.now(UTC))


class _Lasting:
    """A transient cause, and how long it has lasted."""

    def __init__(self, diagnose: Callable[[Diagnosis], Diagnosis]) -> None:
        self._diagnose = diagnose
        self._what, self._since = "", 0.0

    def judged(self, found: Diagnosis | None) -> Diagnosis | None:
        """The same diagnosis, examined closely once it has lasted."""
        now = time.monotonic()
        if found is None or found.what != self._what:
            self._what, self._since = found.what if found is not None else "", now
        if found is not None and (not found.transient or now - self._since >= _LASTS):
            return self._diagnose(found)
        return found


def _raise_if_permanent(api: Api, late: Mapping[Key, Mapping[str, Any] | None], since: str, lasts: _Lasting) -> None:
    from tasks.kube.unready import diagnose_unready

    found = lasts.judged(diagnose_unready(api, late, since=since))
    if found is not None and not found.transient:
        raise Failed.of(found)


def _explained(
    api: Api,
    late: Mapping[Key, Mapping[str, Any] | None],
    error: NotInTime,
    diagnose: Callable[[Diagnosis], Diagnosis],
) -> NotInTime:
    """The same error with the diagnosis of the first object that has one."""
    from tasks.kube.unready import diagnose_unready

    found = diagnose_unready(api, late, events=True)
    if found is None:
        return error
    found = diagnose(replace(found, transient=False))  # no time is left
    why = ": ".join(text for text in (found.what, found.why) if text)
    return NotInTime(error.what, why=f"{error.why}. {why}" if error.why else why, fix=found.fix or error.fix)


def judged(
    item: Mapping[str, Any] | None,
    *,
    jobs: bool = True,
    nodes: Callable[[], Sequence[Mapping[str, Any]] | None] = lambda: None,
) -> tuple[bool, str]:
    """As `workload_ready`; a missing object is not ready."""
    return workload_ready(item, jobs=jobs, nodes=nodes) if item is not None else (False, "it does not exist")


def known_nodes(api: Api) -> list[Mapping[str, Any]] | None:
    """The cluster's nodes; None if they may not be read."""
    return permitted(api, "/api/v1/nodes")


def named(key: Key) -> str:
    """For display: deployment/web."""
    return f"{key.kind.lower()}/{key.name}"
