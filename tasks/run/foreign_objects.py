"""Objects in a foreign cluster: never takes over or deletes objects of others.

Creating fails if an object of that name exists, and an update or a deletion gives the object's uid, so the API
server itself rejects one that others created in the meantime.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from tasks.facts.facts import Facts
from tasks.kube.apply import line, place_of, refuse_deleting, rejected, write
from tasks.kube.client import Api, ApiError, Sender
from tasks.kube.objects import FIELD_MANAGER, Key, Resources
from tasks.kube.ownership import applicable, created_by, marked, owner_of, refused

Item = Mapping[str, Any]
_QUERY = urlencode({"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"})


def create_or_update(facts: Facts, api: Api, resources: Resources, obj: Item) -> str:
    """Return `created` or `applied`. Raises `Foreign` for an object that this project did not create, `Refused`."""
    assert isinstance(api, Sender)
    place = place_of(resources, obj)
    there = _there(api, place)
    if there is None:
        code, text = api.send("POST", f"{place.rpartition('/')[0]}?{_QUERY}", line(marked(obj, facts.environment)))
        if code in (200, 201):
            return "created"
        there = _there(api, place) if code == 409 else None  # created concurrently, or a response was lost
        if there is None:
            raise rejected(code, obj, text)
    if created_by(there) != facts.environment:
        kind = f"{str(obj['kind']).lower()}/{obj['metadata']['name']}"
        raise refused(f"the cluster of context '{facts.cluster.name}'", {kind: owner_of(there)})
    refuse_deleting(obj, there)
    _update(facts, api, resources, obj, there, place)
    return "applied"


def _update(facts: Facts, api: Sender, resources: Resources, obj: Item, there: Item, place: str) -> None:
    found = applicable(there)
    if found is not None:
        code, text = api.send("PUT", f"{place}?{_QUERY}", line(found))
        if code != 200:
            raise rejected(code, obj, text)
    exact = {**obj, "metadata": {**obj["metadata"], "uid": there["metadata"]["uid"]}}
    write(api, resources, exact, facts.programs, facts.paths.kubeconfig, facts.settings.timeouts.command)


def _there(api: Api, place: str) -> Item | None:
    try:
        found: Item = api.get(place)
    except ApiError as error:
        if error.code == 404:
            return None
        raise
    return found


def delete(api: Api, resources: Resources, key: Key, uid: str) -> bool:
    """Delete the object with this uid. False if another one of its name exists. Raises `Refused`."""
    assert isinstance(api, Sender)
    obj = {"apiVersion": key.api_version, "kind": key.kind, "metadata": {"name": key.name, "namespace": key.namespace}}
    options = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": uid},
        "propagationPolicy": "Background",  # a Job's default leaves its pods (Kubernetes: API of Jobs)
    }
    if resources.find(key.api_version, key.kind) is None:
        return True  # gone with its CRD
    code, text = api.send("DELETE", place_of(resources, obj), line(options))
    if code not in (200, 202, 404, 409):
        raise rejected(code, obj, text)
    return code != 409
