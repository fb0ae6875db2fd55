"""While Helm waits for the hooks of a chart: its place goes to another step; a hook that cannot succeed is reported.

Helm runs hooks one after another, and waits until Jobs and Pods among them are complete (Helm: "Chart Hooks").
It does not report on their pods, and runs into its own timeout if an image cannot be pulled.
"""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from tasks.clients import helm
from tasks.core.errors import Diagnosis
from tasks.engine.step import Cancel, Context, Stopped
from tasks.facts.facts import Facts
from tasks.kube.client import Api, ApiError
from tasks.kube.objects import Key
from tasks.kube.readiness import workload_ready
from tasks.kube.releases import releases
from tasks.kube.unready import Item, diagnose_unready
from tasks.kube.wait import Failed, NotInTime, named, wait_ready
from tasks.process.command import CommandFailed, DeadlinePassed
from tasks.run.explain import explain
from tasks.run.releases import is_pending
from tasks.settings.schema import Release

_PATHS = {
    ("batch/v1", "Job"): "/apis/batch/v1/namespaces/{}/jobs",
    ("v1", "Pod"): "/api/v1/namespaces/{}/pods",
}
_OWN = 1.5
"""Seconds that Helm usually needs for its own work, at most."""
_AGAIN = 1.0
"""Seconds between two checks for a hook."""
_ANSWERS = 3.0
"""Seconds for a pending request when Helm ends; nothing depends on its response any more."""
_PHASES = ("pre-install", "post-install", "pre-upgrade", "post-upgrade")
_TIMEOUTS = frozenset({"hook-failed", "release-timeout"})


@dataclass
class _Attendant:
    """Watches for running hooks of one release while Helm runs."""

    facts: Facts
    release: Release
    context: Context
    ended: Cancel = field(default_factory=Cancel)
    """Set when Helm has ended."""
    before: frozenset[str] = frozenset()
    """Hooks left by an earlier Helm, by UID."""
    failed: Failed | None = None
    own: frozenset[Key] | None = None
    """Its hooks, once Helm has stored the release."""

    def run(self, stop: Cancel) -> None:
        """Run until Helm has ended; `stop` terminates Helm if a hook will fail. A failed query reports nothing."""
        with contextlib.suppress(ApiError, NotInTime, Stopped):
            self.before = frozenset(str(item["metadata"].get("uid")) for item in self._hooks(self.facts.api()).values())
            look = replace(self.context, cancelled=self.ended, say=lambda _line: None)
            look.wait(_OWN)
            while True:
                if names := self.running(self.facts.api()):
                    self.context.yield_place()
                    self.context.say(f"waiting for its hook {', '.join(map(named, names))}")
                    try:
                        wait_ready(self.facts.watched(), self._keys, look, diagnose=partial(explain, self.facts))
                    except Failed as error:
                        self.failed = error
                        stop.set()
                        return
                look.wait(_AGAIN)

    def running(self, api: Api, *, left: bool = False) -> dict[Key, Item]:
        """Hooks that this Helm has created and that have not succeeded; `left`: also those of an earlier one."""
        return {
            key: item
            for key, item in self._hooks(api).items()
            if (left or str(item["metadata"].get("uid")) not in self.before) and not workload_ready(item)[0]
        }

    def why(self) -> Diagnosis | None:
        """Why its hooks do not finish, after Helm has given up."""
        with contextlib.suppress(ApiError):
            api = self.facts.api()
            # Helm 4 takes over an existing hook unless its chart has it deleted before
            found = diagnose_unready(api, self.running(api) or self.running(api, left=True), events=True)
            return None if found is None else explain(self.facts, replace(found, transient=False))
        return None

    def _keys(self, api: Api) -> list[Key]:
        return list(self.running(api))

    def _hooks(self, api: Api) -> dict[Key, Item]:
        """Existing Jobs and Pods of this release's hooks; other releases may run hooks in the namespace, too."""
        found: dict[Key, Item] = {}
        for (version, kind), path in _PATHS.items():
            for item in api.get(path.format(self.release.namespace))["items"]:
                meta = item["metadata"]
                phases = str((meta.get("annotations") or {}).get(helm.HOOK) or "").replace(" ", "").split(",")
                if set(phases) & set(_PHASES):
                    key = Key(version, kind, self.release.namespace, meta["name"])
                    found[key] = {"apiVersion": version, "kind": kind, **item}
        own = self._own(api) if found else ()
        return {key: item for key, item in found.items() if key in own}

    def _own(self, api: Api) -> frozenset[Key]:
        """The hooks in Helm's record of the release, which exists before the first of them runs."""
        if self.own is not None:
            return self.own
        place = (self.release.namespace, self.release.name)
        there = releases(api, place).get(place)
        own = frozenset(() if there is None else there.hook_objects)
        if there is not None and is_pending(there):
            self.own = own
        return own


@contextlib.contextmanager
def attended(facts: Facts, release: Release, context: Context) -> Iterator[Context]:
    """The context for the Helm that installs a release. Raises `Failed` if a hook will not succeed.

    A `CommandFailed` of a hook gets the reason from the hook's pods.
    """
    inner, attendant = replace(context, cancelled=Cancel()), _Attendant(facts, release, context)
    forget = context.cancelled.call(inner.cancelled.set)
    thread = threading.Thread(
        target=attendant.run, args=(inner.cancelled,), name=f"hooks of {release.name}", daemon=True
    )
    thread.start()
    try:
        yield inner
    except (Stopped, CommandFailed) as error:
        failed, cancelled = attendant.failed, context.cancelled.is_set()
        if failed is not None and not cancelled:
            failed.amend(what=f"a hook of the chart will not succeed: {failed.what}")
            raise failed from None
        late = isinstance(error, DeadlinePassed)
        if isinstance(error, CommandFailed) and (late or error.cause in _TIMEOUTS) and (found := attendant.why()):
            error.amend(why=". ".join(filter(None, (error.why, found.reason))), fix=found.fix or error.fix)
        raise
    finally:
        forget()
        attendant.ended.set()
        thread.join(_ANSWERS)
