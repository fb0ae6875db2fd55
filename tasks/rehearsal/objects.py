"""Objects of a cluster as its document keeps them: each with what will become of it.

A record is `{"object", "stamp", "stages", "from", "until"}`. `stages` are moments with changes (JSON merge patches)
that controllers and kubelets will have made by then; before `from` the object is not there yet, from `until` on no
more. A version of an object is a moment in microseconds: that of its last change.
"""

from __future__ import annotations

import os
import time

from tasks.rehearsal.kinds import bucket
from tasks.rehearsal.times import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from tasks.rehearsal.containers import Document

    Object = dict[str, Any]
    Record = dict[str, Any]

_GONE = 300
"""Deletions that are remembered for those who watch."""


def blank() -> Document:
    """A cluster without anything."""
    return {"objects": {}, "gone": [], "stamp": 0}


def micro(moment: float) -> int:
    """A version for a moment."""
    return round(moment * 1e6)


def place(namespace: str, name: str) -> str:
    """The key of an object among those of its kind."""
    return f"{namespace}/{name}"


def uid() -> str:
    """As Kubernetes writes one."""
    text = os.urandom(16).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def put(doc: Document, obj: Object, now: float, **more: Any) -> Record:
    """Keep an object. `more`: stages, from, until; what is not given is as if nothing were to come."""
    meta = obj["metadata"]
    of_kind = doc["objects"].setdefault(bucket(obj["apiVersion"], obj["kind"]), {})
    meta.setdefault("uid", uid())
    meta.setdefault("creationTimestamp", stamp(max(now, more.get("from", now)), 0))
    doc["stamp"] = max(micro(time.time()), doc["stamp"] + 1)
    record = {"object": obj, "stamp": doc["stamp"], **more}
    of_kind[place(meta.get("namespace", ""), meta["name"])] = record
    return record


def get(doc: Document, api_version: str, kind: str, namespace: str, name: str, now: float) -> Record | None:
    """A record that is there now."""
    record = (doc["objects"].get(bucket(api_version, kind)) or {}).get(place(namespace, name))
    return record if record is not None and there(record, now) else None


def records(doc: Document, api_version: str, kind: str, now: float) -> Iterator[Record]:
    """All of a kind that are there now."""
    for record in (doc["objects"].get(bucket(api_version, kind)) or {}).values():
        if there(record, now):
            yield record


def there(record: Mapping[str, Any], now: float) -> bool:
    """Whether it is there now."""
    return bool(record.get("from", 0.0) <= now < record.get("until", float("inf")))


def seen(record: Record, now: float) -> Object:
    """The object as it is now; whoever changes it changes the record."""
    made = record["object"]
    for moment, change in record.get("stages", ()):
        if moment <= now:
            made = merged(made, change)
    return {**made, "metadata": {**made["metadata"], "resourceVersion": str(version_of(record, now))}}


def version_of(record: Record, now: float) -> int:
    """The version that `seen` would tell. It rises with each stage, also with one of a moment before the record."""
    version: int = max(record["stamp"], micro(record.get("from", 0.0)))
    for moment, _ in record.get("stages", ()):
        if moment <= now:
            version = max(version + 1, micro(moment))
    return version


def settle(record: Record, now: float) -> Object:
    """The object with all that has become of it, for a change by others; what is still to come is dropped."""
    made = seen(record, now)
    made["metadata"].pop("resourceVersion", None)
    return made


def next_change(doc: Document, keys: Iterator[str] | list[str], now: float) -> float:
    """When something of these kinds will change by itself."""
    found = [float("inf")]
    for key in keys:
        for record in (doc["objects"].get(key) or {}).values():
            moments = [record.get("from", 0.0), record.get("until", float("inf"))]
            moments += [moment for moment, _ in record.get("stages", ())]
            found += [moment for moment in moments if moment > now]
    return min(found)


def remove(doc: Document, obj: Mapping[str, Any], at: float) -> None:
    """It goes, at a moment."""
    meta = obj["metadata"]
    record = (doc["objects"].get(bucket(obj["apiVersion"], obj["kind"])) or {}).get(
        place(meta.get("namespace", ""), meta["name"])
    )
    if record is not None:
        record["until"] = min(record.get("until", float("inf")), at)


def sweep(doc: Document, now: float) -> None:
    """Take away what has gone; those who watch are told for a while."""
    for key, of_kind in doc["objects"].items():
        for name in [name for name, record in of_kind.items() if record.get("until", float("inf")) <= now]:
            record = of_kind.pop(name)
            doc["gone"].append([record["until"], key, seen(record, record["until"])])
    del doc["gone"][:-_GONE]


def merged(value: Any, change: Any) -> Any:  # noqa: ANN401 - any JSON values
    """A JSON merge patch (RFC 7386): null takes away."""
    if not isinstance(change, dict):
        return change
    found = dict(value) if isinstance(value, dict) else {}
    for name, part in change.items():
        if part is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), part)
    return found
