"""Who created an object: what this project may change and remove in a cluster that it does not manage.

The proof is a label that is part of the request which creates an object, and of no later one. The API server records
which manager set a field by which operation (metadata.managedFields): creating is `Update`, applying is `Apply`. So a
label of that name that was applied, or copied with an object by another manager, proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks.core.errors import BadInput
from tasks.kube.objects import FIELD_MANAGER, MANAGED_BY, Key

if TYPE_CHECKING:
    from tasks.kube.releases import LiveRelease

CREATED_BY = "openframe.dev/created-by"
"""Label of objects and Helm releases: the environment for which this project created them."""
_LONGEST = 63
"""Maximum length of a label's value (Kubernetes: labels and selectors)."""
_SHOWN = 10
RELEASE_NAME, RELEASE_NAMESPACE = "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"
"""Annotations of objects of a Helm release."""
_NAMING = (
    "argocd.argoproj.io/tracking-id",
    "argocd.argoproj.io/instance",
    "kustomize.toolkit.fluxcd.io/name",
    "helm.toolkit.fluxcd.io/name",
    "objectset.rio.cattle.io/owner-name",
    "addonmanager.kubernetes.io/mode",
    "olm.owner",
    MANAGED_BY,
)
"""Annotations and labels by which deployment tools mark their objects."""


class Foreign(BadInput):
    """An object or release of the same name exists that this project did not create."""


def environment(owner: str, owner_id: str, cluster: str) -> str:
    """The value of `CREATED_BY`: two owners, or two cluster names of one owner, are two environments."""
    text = re.sub(r"[^A-Za-z0-9_.-]", "-", f"{cluster}.{owner}")
    return f"{text[: _LONGEST - 1 - len(owner_id)]}.{owner_id}".lstrip("-_.")


def marked(obj: Mapping[str, Any], environment: str) -> dict[str, Any]:
    """A copy with the label, for the request that creates it."""
    metadata = obj["metadata"]
    labels = {**(metadata.get("labels") or {}), CREATED_BY: environment}
    return {**obj, "metadata": {**metadata, "labels": labels}}


def created_by(obj: Mapping[str, Any]) -> str | None:
    """The environment for which this project created an object; None if it did not, or there is no proof."""
    metadata = obj["metadata"]
    value: str | None = (metadata.get("labels") or {}).get(CREATED_BY)
    return value if value and any(_creates(entry) for entry in _entries(obj)) else None


def _creates(entry: Mapping[str, Any]) -> bool:
    labels = ((entry.get("fieldsV1") or {}).get("f:metadata") or {}).get("f:labels") or {}
    return _is_creation(entry) and f"f:{CREATED_BY}" in labels


def _is_creation(entry: Mapping[str, Any]) -> bool:
    own = entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Update"
    return own and not entry.get("subresource")


def _entries(obj: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return obj["metadata"].get("managedFields") or ()


def applicable(live: Mapping[str, Any]) -> dict[str, Any] | None:
    """A live object with the fields of its creation as if they had been applied; None if that is so already.

    Fields owned by a creation stay when a later apply omits them (Kubernetes: server-side apply, ownership).
    Only the label stays with the creation: it is the proof.
    """
    entries = []
    changed = False
    for entry in _entries(live):
        fields = entry.get("fieldsV1") or {}
        if not _creates(entry) or _only_label(fields):
            entries.append(dict(entry))
            continue
        label: dict[str, Any] = {"f:metadata": {"f:labels": {f"f:{CREATED_BY}": {}}}}
        entries += [
            {**entry, "operation": "Apply", "fieldsV1": _without_label(fields)},
            {**entry, "fieldsV1": label},
        ]
        changed = True
    return {**live, "metadata": {**live["metadata"], "managedFields": entries}} if changed else None


def _only_label(fields: Mapping[str, Any]) -> bool:
    metadata = fields.get("f:metadata") or {}
    labels = set(metadata.get("f:labels") or ()) - {"."}
    return set(fields) == {"f:metadata"} and set(metadata) == {"f:labels"} and labels == {f"f:{CREATED_BY}"}


def _without_label(fields: Mapping[str, Any]) -> dict[str, Any]:
    metadata = dict(fields["f:metadata"])
    labels = {name: inner for name, inner in metadata["f:labels"].items() if name != f"f:{CREATED_BY}"}
    return {**fields, "f:metadata": {**metadata, "f:labels": labels}}


def owner_of(obj: Mapping[str, Any]) -> str:
    """Who an object belongs to, by its labels, and who set its fields: for a message."""
    return ", ".join(_descriptions(obj)) or "its owner is unknown"


def _descriptions(obj: Mapping[str, Any]) -> Iterator[str]:
    metadata = obj["metadata"]
    named = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
    other = created_by(obj)
    if other is not None:
        yield f"created by this project for {other}"
    release, namespace = (named.get(name) for name in (RELEASE_NAME, RELEASE_NAMESPACE))
    if release:
        yield f"Helm release {release} in {namespace or 'its namespace'}"
    for each in metadata.get("ownerReferences") or ():
        yield f"owned by {each.get('kind')} {each.get('name')}"
    for name in _NAMING:
        if named.get(name) and not (name == MANAGED_BY and (release or other)):
            yield f"{name}={named[name]}"
    managers = dict.fromkeys(
        str(entry.get("manager")) for entry in _entries(obj) if entry.get("manager") and not entry.get("subresource")
    )
    if managers and other is None:
        yield f"field manager {', '.join(managers)}"


def taken(item: Mapping[str, Any], release: str, namespace: str) -> bool:
    """Whether an object that this release once created is no longer its own.

    Another release has taken it over, or others have removed and recreated it. Helm does not check that when it
    upgrades, and only its later versions do when they uninstall (3.19: no, 4.3: yes).
    """
    notes = item["metadata"].get("annotations") or {}
    if RELEASE_NAME in notes:
        return (notes[RELEASE_NAME], notes.get(RELEASE_NAMESPACE, namespace)) != (release, namespace)
    managers = [str(entry.get("manager")) for entry in _entries(item)]
    return bool(managers) and not any(each.startswith("helm") for each in managers)  # 3 uses its program's name


def installed_by(live: LiveRelease) -> str:
    """Who installed a release, for a message."""
    other = live.labels.get(CREATED_BY)
    how = f"installed by this project for {other}" if other else "not installed by this project"
    return f"{how} ({live.status}, revision {live.revision}: see helm list)"


def refused(place: str, found: Mapping[str, str]) -> Foreign:
    """The error for existing things that this project did not create: each one, and its owner."""
    names = list(found)
    more = f"; and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    count = f"{len(names)} things are" if len(names) > 1 else f"{names[0]} is"
    return Foreign(
        f"{count} in {place} already, and this project did not create {'them' if len(names) > 1 else 'it'}",
        why="; ".join(f"{name}: {found[name]}" for name in names[:_SHOWN]) + more,
        fix="rename or remove your own; if the existing one is no longer needed, delete it yourself. "
        "Nothing was changed",
    )


Item = Mapping[str, Any]
_IN_EVERY_NAMESPACE = frozenset(
    {
        ("ServiceAccount", "default"),
        ("ConfigMap", "kube-root-ca.crt"),
        ("ConfigMap", "openshift-service-ca.crt"),
        ("ConfigMap", "istio-ca-root-cert"),
    }
)
"""Objects that Kubernetes, OpenShift and Istio create in each namespace."""


def belonging(items: Mapping[Key, Item], environment: str, known: Collection[Key], uids: Collection[str]) -> set[Key]:
    """Keys of what this project created in these namespaces, and of what was created for it: by owner references, and
    by controllers that set none.

    `known`: objects of this project's releases, of any version of their group. `uids`: of objects known to belong to
    it, in these namespaces or elsewhere.
    """
    alike = {_versionless(key) for key in known}
    found = {
        key
        for key, item in items.items()
        if created_by(item) == environment
        or _versionless(key) in alike
        or (key.kind, key.name) in _IN_EVERY_NAMESPACE
        or not {str(item["metadata"].get("uid")), *(str(each.get("uid")) for each in _references(item))}.isdisjoint(
            uids
        )
    }
    by_uid = {str(item["metadata"].get("uid")): key for key, item in items.items()}
    owners = {key: set(_owners(key, item, items, by_uid)) for key, item in items.items()}
    while more := {key for key, of in owners.items() if key not in found and of & found}:
        found |= more
    return found


def foreign_objects(items: Mapping[Key, Item], own: Collection[Key]) -> dict[str, list[str]]:
    """By namespace: objects that do not belong to this project. Dependents of another one of them are left out."""
    by_uid = {str(item["metadata"].get("uid")): key for key, item in items.items()}
    found: dict[str, list[str]] = {}
    for key, item in items.items():
        if key in own or any(of in items and of not in own for of in _owners(key, item, items, by_uid)):
            continue
        found.setdefault(key.namespace or "", []).append(f"{key.kind.lower()} {key.name}")
    return found


def _versionless(key: Key) -> tuple[str, str, str | None, str]:
    return (key.api_version.rpartition("/")[0], key.kind, key.namespace, key.name)


def _references(item: Item) -> Collection[Mapping[str, Any]]:
    found: Collection[Mapping[str, Any]] = item["metadata"].get("ownerReferences") or ()
    return found


def _owners(key: Key, item: Item, items: Mapping[Key, Item], by_uid: Mapping[str, Key]) -> Iterator[Key]:
    for each in _references(item):
        if str(each.get("uid")) in by_uid:
            yield by_uid[str(each["uid"])]
    if key.kind == "Endpoints":  # of the Service of the same name
        yield Key("v1", "Service", key.namespace, key.name)
    if key.kind == "PersistentVolumeClaim":
        yield from (other for other, each in items.items() if _claims(other, each, key))
    if key.kind == "Secret":
        account = (item["metadata"].get("annotations") or {}).get("kubernetes.io/service-account.name")
        if account:
            yield Key("v1", "ServiceAccount", key.namespace, account)
    if key.kind == "Lease":  # client-go: the holder is the host name (that of the pod) and an id
        holder = str((item.get("spec") or {}).get("holderIdentity") or "")
        yield from (Key("v1", "Pod", key.namespace, name) for name in {holder, holder.partition("_")[0]} if name)


def _claims(other: Key, item: Item, claim: Key) -> bool:
    """Whether a claim is one of a StatefulSet's, which Kubernetes gives no owner (Kubernetes: StatefulSet, storage)."""
    if (other.kind, other.namespace) != ("StatefulSet", claim.namespace):
        return False
    templates = (item.get("spec") or {}).get("volumeClaimTemplates") or ()
    names = (re.escape(f"{each['metadata']['name']}-{other.name}-") for each in templates)
    return any(re.fullmatch(f"{name}[0-9]+", claim.name) for name in names)
