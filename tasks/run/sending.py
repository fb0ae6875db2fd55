"""Objects sent to the API, each as soon as it can be accepted: now, or when what it needs is served.

A kind that is not served yet, a webhook whose pods are starting, a missing namespace: each may be created by what
is being installed at the same time, by a release, by k3s itself, or by other manifests. So may the CRD by which
an object is valid: the one in the cluster belongs to the release's last revision. Such an object is deferred and sent
again, without blocking the others; what nothing can provide is an error at once.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from tasks.core.errors import LaunchError
from tasks.engine.step import Context, Report
from tasks.facts.facts import Facts
from tasks.kube.apply import Refused, write
from tasks.kube.client import Api, ApiError, Busy, NoAnswer, RetryingApi, built_in, explained
from tasks.kube.drift import same
from tasks.kube.objects import Key, Resources, display, key, live, of_k3s
from tasks.process.command import CommandFailed, DeadlinePassed
from tasks.settings.derived import SYSTEM_READY, install_name

Object = dict[str, Any]
_KINDS, _WEBHOOK = frozenset({"kind-missing", "kind-removed"}), "webhook-failing"
_ENDING = frozenset({"object-ending", "namespace-ending"})
"""Ids of causes (docs/reference/causes.md) that end without help, unless a finalizer blocks them."""
_NOT_YET = frozenset({*_KINDS, _WEBHOOK, "namespace-missing", *_ENDING})
"""Causes that something being installed may end."""
_INVALID = frozenset({"object-invalid", "field-unknown"})
"""Causes that another CRD of the object's kind may end."""
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_PAUSES = (0.3, 4.0)
"""Seconds before deferred objects are sent again: at first, and at most."""
_SOON = 20.0
"""Seconds after the last release is ready in which its operator may still define kinds, or create namespaces."""
_TAKEN_UP = 3.0
"""Seconds until the API validates objects by a changed CRD."""
_LOOKS = (0.0, 1.0, 4.0)
"""Seconds before each check whether an unanswered write has been done nevertheless."""
_OFTEN, _LONGEST = 10, 30.0
"""Retries of a write that the API has put off (client-go: `maxRetries`), and the maximum seconds before one."""


class NotYet(LaunchError):
    """The API cannot accept an object before something else exists; `cause` says what, "" if unknown."""

    def __init__(self, error: ApiError | CommandFailed, cause: str) -> None:
        super().__init__(error.what, why=error.why, fix=error.fix, exit_code=error.exit_code, cause=cause)


class TooSlow(LaunchError):
    """A write was not answered in time, and has not been done since."""


Deferred = list[tuple[Object, NotYet]]
"""Objects that cannot be accepted yet, each with the reason."""


Write = Callable[[Api, Resources, Object], str]
"""Sends one object and returns what was done: `applied` here, `create_or_update` for foreign clusters."""


class Prerequisites:
    """Whether what an object needs may still appear.

    That is so while a step that its step awaits has not ended, and for a while after that, since an installed
    component may start serving a little later: `grace` seconds for a webhook, whose pods and certificate may take
    long, and for objects being deleted, at most `_SOON` for others. Without such steps these two get the same time,
    since pods may just be starting; so do kinds and namespaces if `more_to_come`. Otherwise nothing provides them.
    `definer` returns the step that installs the CRD of an object's kind.
    """

    def __init__(
        self, context: Context, grace: float, *, more_to_come: bool, definer: Callable[[Object], str | None]
    ) -> None:
        self._context, self._grace, self._more, self._definer = context, grace, more_to_come, definer
        self._definers: dict[tuple[str, str], str | None] = {}
        self._last: dict[Key, float] = {}
        """When something was last being installed, for each object."""

    def missing_for_good(self, obj: Object, cause: str) -> bool:
        """Whether nothing provides what it needs."""
        now, name, version = time.monotonic(), key(obj), str(obj["apiVersion"])
        if cause in _KINDS and built_in(version):
            return True
        pending = self._context.pending()
        if cause in _INVALID:
            return self._stays_invalid(obj, [step for step in pending if step != SYSTEM_READY])
        if any(step != SYSTEM_READY or (cause in _KINDS and of_k3s(version)) for step in pending):
            self._last[name] = now
        elif cause in (_WEBHOOK, "", *_ENDING) or self._more:
            self._last.setdefault(name, now)
        grace = self._grace if cause in (_WEBHOOK, *_ENDING) else min(_SOON, self._grace)
        return name not in self._last or now - self._last[name] >= grace

    def _stays_invalid(self, obj: Object, pending: Sequence[str]) -> bool:
        """Whether no other CRD of its kind is being installed. Its definer is looked up once."""
        now, name, kind = time.monotonic(), key(obj), (str(obj["apiVersion"]), str(obj["kind"]))
        if pending and kind not in self._definers:
            self._definers[kind] = self._definer(obj)
        step = self._definers.get(kind)
        if pending and (step is None or step in pending):
            self._last[name] = now
        elif self._more:
            self._last.setdefault(name, now)
        return name not in self._last or now - self._last[name] >= _TAKEN_UP


def definer(facts: Facts, api: Api, obj: Object) -> str | None:
    """The step that installs the release which defined the kind of an object.

    "" if no release of this launch did; None if unknown: an operator or a Job may define kinds, too.
    """
    where = Resources(api).find(str(obj["apiVersion"]), str(obj["kind"]))
    group = str(obj["apiVersion"]).partition("/")[0]
    try:
        found = api.get(f"{_DEFINITIONS}/{where[0]}.{group}") if where is not None else {}
    except ApiError:
        return None
    marks = (found.get("metadata") or {}).get("annotations") or {}
    name, namespace = (marks.get(f"meta.helm.sh/release-{each}") for each in ("name", "namespace"))
    if name is None:
        return None
    of = (each for each in facts.releases if (each.name, each.namespace) == (name, namespace))
    return next((install_name(each) for each in of), "")


def _may_be_taken(obj: Object, cause: str) -> bool:
    """Whether something else can make the API accept an object that it rejected for this cause."""
    return cause in _NOT_YET or (cause in _INVALID and not built_in(str(obj["apiVersion"])))


class Transport:
    """One after another, as far as possible without a process. Only names are written to the step's log."""

    def __init__(self, facts: Facts, api: Api, context: Context, write: Write) -> None:
        self._facts, self._api, self._context, self._write = facts, api, context, write
        self._resources = Resources(RetryingApi(api, sleep=context.wait))
        self._noted: set[str] = set()

    def send(self, objects: Sequence[Object]) -> Deferred:
        """Send each. Returns those that cannot be accepted yet, in the best order for a retry.

        One object of a kind that is not accepted yet is enough to find that out.
        """
        done: list[str] = []
        failed: Deferred = []
        untried: Deferred = []
        kinds: dict[tuple[str, str], NotYet] = {}
        try:
            for each in objects:
                self._context.wait(0)
                kind = (str(each["apiVersion"]), str(each["kind"]))
                if kind in kinds:
                    untried.append((each, kinds[kind]))
                    continue
                try:
                    done.append(f"{display(each)} {self._put(each)}")
                except (ApiError, CommandFailed) as error:
                    done += self._told(error)
                    if not _may_be_taken(each, error.cause):
                        raise
                    failed.append((each, NotYet(error, error.cause)))
                    if error.cause in _NOT_YET - _ENDING:
                        kinds[kind] = failed[-1][1]
        finally:
            self._facts.programs.note(self._context, "\n".join(done))
        return [*untried, *failed]

    def _told(self, error: ApiError | CommandFailed) -> list[str]:
        """The API's message about an object, for the log, once. The known cause is added to the error."""
        if isinstance(error, CommandFailed) or error.code == 0:
            return []  # already in the log, or there is no message
        text = error.text if isinstance(error, Refused) else f"Error from server: {error.why}"
        explained(error, text)
        new = text not in self._noted
        self._noted.add(text)
        return [text] if new else []

    def _put(self, obj: Object) -> str:
        """Send it once; again only if the API says that it has not processed it. Returns what was done."""
        self._resources.find(str(obj["apiVersion"]), str(obj["kind"]))  # a read, which may be retried
        for left in reversed(range(_OFTEN + 1)):
            try:
                return self._write(self._api, self._resources, obj)
            except Busy as error:
                if not left:
                    raise
                self._context.wait(min(_LONGEST, error.seconds))
                continue
            except (ApiError, CommandFailed) as error:
                if not _unanswered(error):
                    raise
                if missing(self._api, [obj], self._context):
                    raise _too_slow(display(obj), error) from None
            break
        return "applied"


def send(
    sender: Transport, api: Api, objects: Sequence[Object], prerequisites: Prerequisites, context: Context
) -> Report:
    """Send all, until each is accepted. Raises the fault of one, and `NotYet` if nothing provides what it needs."""
    left, began, late = list(objects), time.monotonic(), ""
    pause, most = _PAUSES
    while True:
        sent = time.monotonic()
        deferred = sender.send(left)
        if not deferred:
            break
        for obj, error in deferred:
            if prerequisites.missing_for_good(obj, error.cause):
                raise _never_taken(api, obj, error)
        late = display(deferred[0][0]) + (f" and {len(deferred) - 1} more" if len(deferred) > 1 else "")
        context.say(f"{late}: not yet, {deferred[0][1].why}")
        context.wait(max(pause, time.monotonic() - sent))  # the pause is at least as long as the attempt
        pause = min(most, pause * 1.5)
        left = [obj for obj, _error in deferred]
    why = f"{len(objects)} applied, {late} after {time.monotonic() - began:.0f} s" if late else ""
    return Report(why=why)


def applied(facts: Facts, api: Api, resources: Resources, obj: Object) -> str:
    """Apply an object in this project's own cluster."""
    write(api, resources, obj, facts.programs, facts.paths.kubeconfig, facts.settings.timeouts.command)
    return "applied"


def _unanswered(error: ApiError | CommandFailed) -> bool:
    """Whether it is unknown if a write was done, because its response was late."""
    if isinstance(error, CommandFailed):
        return isinstance(error, DeadlinePassed) or "(Timeout)" in error.done.err
    return error.code == 504 or (isinstance(error, NoAnswer) and not error.why.startswith("GET "))


def _missing(api: Api, objects: Sequence[Object]) -> list[Object]:
    """Those that are not in the cluster as sent. Raises `ApiError`."""
    there = live(api, Resources(api), [key(each) for each in objects])
    return [each for each in objects if same(each, there[key(each)]) is not None]


def missing(api: Api, objects: Sequence[Object], context: Context) -> bool:
    """Whether, some seconds after an unanswered write, an object is not in the cluster as sent."""
    for pause in _LOOKS:
        context.wait(pause)
        with contextlib.suppress(ApiError):
            if not _missing(api, objects):
                return False
    return True


def _too_slow(what: str, error: LaunchError) -> TooSlow:
    """The error of an unanswered write."""
    return TooSlow(
        f"the API has not accepted {what} in time: {error.what}",
        why="it is not in the cluster as sent; sending it again would only add to the load",
        fix="kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations shows which are called, and "
        "the logs of their pods why they are slow; then run the task again",
    )


def _never_taken(api: Api, obj: Object, error: NotYet) -> NotYet:
    """The error of an object whose need nothing provides, with advice."""
    if error.cause in _KINDS:
        why, fix = unserved(api, obj)
        error.amend(why=why, fix=fix)
    return error


def unserved(api: Api, obj: Object) -> tuple[str, str]:
    """Why the kind of an object is not served, and what to do about it."""
    group, _, _version = str(obj["apiVersion"]).rpartition("/")
    kind, served = str(obj["kind"]), set[str]()
    with contextlib.suppress(ApiError, KeyError, TypeError):
        for each in next((row["versions"] for row in api.get("/apis")["groups"] if row["name"] == group), ()):
            rows = api.get(f"/apis/{each['groupVersion']}")["resources"]
            served |= {f"{row['kind']} of {each['groupVersion']}" for row in rows if "/" not in row["name"]}
    others = sorted(name for name in served if name.startswith(f"{kind} of "))
    why = f"nothing serves {kind} of {obj['apiVersion']}, and nothing that is being installed provides it"
    if others:
        return why, f"the API serves {', '.join(others)}: change apiVersion to that"
    if built_in(str(obj["apiVersion"])):
        return why, "correct apiVersion or kind: kubectl api-resources lists what this Kubernetes serves"
    return why, (
        f"install the CustomResourceDefinition of {kind} in {group}: with its operator's release (helm.releases; many "
        "charts omit it unless a value such as crds.enabled is true), or with a manifest of it (manifests.files)"
    )
