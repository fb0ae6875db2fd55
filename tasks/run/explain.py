"""Why something does not become ready, beyond the status of its pod: events, a login, a cache, the end of a log."""

import contextlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from tasks.core.errors import Diagnosis
from tasks.core.imageref import parse
from tasks.core.redact import clean, redact
from tasks.diagnose.events import diagnose_events, diagnose_kills
from tasks.facts.facts import Facts
from tasks.facts.registries import explain_pull
from tasks.kube.client import Api, ApiError
from tasks.kube.concealing import conceal_cluster, without_secrets
from tasks.settings.origin import without_assigned

_LINES, _LONGEST = 20, 300
"""Lines of a log that are read, and characters of the one that is shown."""
_TELLING = re.compile(r"\b(?:panic|fatal|error|exception|failed|cannot|denied)\b|(?:Error|Exception)\b", re.IGNORECASE)
_PATIENCE = 5.0
"""Seconds for reading a log."""
_GONE = "unable to retrieve container logs"
"""A kubelet's answer, with code 200, for a container that its runtime has removed."""
_LOGS = frozenset({"crash", "init-running", "job-failed", "probe"})
_KILLS = frozenset({"crash", "container-ends"})


def explain(facts: Facts, found: Diagnosis) -> Diagnosis:
    """The same diagnosis with what the cluster shows besides; `found` has the pod's place in its details.

    A transient one is only examined for what makes it permanent: its container may still come up.
    """
    with contextlib.suppress(ApiError, KeyError):  # nothing more is known then
        if found.cause == "claim-pending":
            return _of_claim(facts.api(), found)
        if found.cause == "image-denied":
            found = _with_pull_secret(facts.api(), found)
        elif not found.transient:
            found = _with_events(facts.api(), found)
            found = _with_log(facts, found)
    return explain_pull(facts, found)


def _events(api: Api, details: Any, name: str) -> list[dict[str, Any]]:  # noqa: ANN401 - a mapping of texts
    query = quote(f"involvedObject.name={name}", safe="")
    return list(api.get(f"/api/v1/namespaces/{details['namespace']}/events?fieldSelector={query}")["items"] or ())


def _of_claim(api: Api, found: Diagnosis) -> Diagnosis:
    """A pending claim has the reason in its own events: there is no such storage class."""
    claims = found.details["claims"].split()
    events = [event for name in claims for event in _events(api, found.details, name)]
    return diagnose_events(events) or found


def _with_events(api: Api, found: Diagnosis) -> Diagnosis:
    if found.cause not in (*_KILLS, "probe"):
        return found
    events = _events(api, found.details, found.details["pod"])
    subject = found.details["subject"]
    better = diagnose_kills(events, subject) if found.cause in _KILLS else None
    if found.cause == "probe":
        better = diagnose_events([each for each in events if each.get("reason") == "Unhealthy"])
    return found if better is None else replace(better, details=found.details, transient=found.transient)


def _with_pull_secret(api: Api, found: Diagnosis) -> Diagnosis:
    """With the fault of the secret that a pod names for its registry."""
    details = found.details
    namespace = f"/api/v1/namespaces/{details['namespace']}"
    spec = api.get(f"{namespace}/pods/{details['pod']}").get("spec") or {}
    names = [str(each.get("name")) for each in spec.get("imagePullSecrets") or ()]
    faults = [fault for name in names if (fault := _fault(api, namespace, name, parse(details["image"]).registry))]
    if not faults or len(faults) < len(names):
        return found
    return replace(
        found,
        why=f"{found.why}. {'; '.join(faults)}",
        fix=f"correct that secret in the namespace {details['namespace']} (`secrets`, with type: dockerconfigjson)",
    )


def _fault(api: Api, namespace: str, name: str, registry: str) -> str:
    """What is wrong with a pull secret for this registry; empty if nothing is, or it cannot be read."""
    code, text = api.raw(f"{namespace}/secrets/{name}")
    if code == 404:
        return f"its imagePullSecret '{name}' does not exist"
    try:
        import base64

        data = json.loads(text)["data"][".dockerconfigjson"]
        hosts = [host.partition("://")[2] or host for host in json.loads(base64.b64decode(data))["auths"]]
    except (ValueError, KeyError, TypeError):
        return f"its imagePullSecret '{name}' is not of type kubernetes.io/dockerconfigjson" if code == 200 else ""
    there = any(host.partition("/")[0] in (registry, f"index.{registry}") for host in hosts)
    return "" if there else f"its imagePullSecret '{name}' has no login for {registry}"


def _with_log(facts: Facts, found: Diagnosis) -> Diagnosis:
    if found.cause not in _LOGS:
        return found
    api, details = facts.api(), found.details
    namespace = details["namespace"]
    pod, container = details.get("pod"), details.get("container")
    if pod is None:
        label = quote(f"job-name={details['name']}", safe="")
        pods = api.get(f"/api/v1/namespaces/{namespace}/pods?labelSelector={label}")["items"] or ()
        ended = sorted(pods, key=lambda each: str(each["metadata"].get("creationTimestamp")))[-1:]
        if not ended:
            return found
        pod, container = ended[0]["metadata"]["name"], ended[0]["spec"]["containers"][0]["name"]
    line = _in_time(lambda: _last_words(facts, namespace, str(pod), str(container)))
    return replace(found, why=f"{found.why}. Its log ends with: {line}") if line else found


def _in_time(read: Callable[[], str]) -> str:
    """What is read, or nothing if it takes too long: the API waits half a minute for a node without a network."""
    found: list[str] = []

    def act() -> None:
        with contextlib.suppress(ApiError):
            found.append(read())

    thread = threading.Thread(target=act, name="reads a log", daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return found[0] if found else ""


def _last_words(facts: Facts, namespace: str, pod: str, container: str) -> str:
    """The last line of a log that reads like an error, else the last one; masked. Empty if there is none.

    Without access to the namespace's Secrets, which a program may print, none is shown. Raises `ApiError`.
    """
    api, place = facts.api(), f"/api/v1/namespaces/{namespace}/pods/{pod}"
    conceal_cluster(api, (namespace,), [(each.namespace, each.name) for each in facts.releases])
    without_secrets(api.get(place))  # conceals the values of its variables
    for which in ("&previous=true", ""):
        code, text = api.raw(f"{place}/log?container={container}&tailLines={_LINES}{which}")
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(_GONE)]
        if lines and code == 200:
            line = next((each for each in reversed(lines) if _TELLING.search(each)), lines[-1])
            return clean(without_assigned(redact(line)))[:_LONGEST]
    return ""
