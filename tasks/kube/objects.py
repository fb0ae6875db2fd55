"""Objects of any kind: their keys and labels, their API paths, and which of them exist."""

import base64
import binascii
import copy
import json
import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tasks.core.errors import BadInput
from tasks.core.files import sha256
from tasks.kube.client import Api, ApiError, built_in
from tasks.settings.derived import FINGERPRINT

Path = tuple[str | int, ...]
"""Names of fields and indexes of items, from the top."""
_KEY_DEFAULTS = {"protocol": "TCP"}
"""Defaults of list keys that manifests may omit (Kubernetes: ports)."""
FIELD_MANAGER = "openframe"
"""Field manager of this project (Kubernetes: server-side apply)."""
MANAGED_BY = "app.kubernetes.io/managed-by"
"""The well-known label (Kubernetes: recommended labels); its value is `FIELD_MANAGER`."""


class Key(NamedTuple):
    """Identifies an object."""

    api_version: str
    kind: str
    namespace: str | None
    """None: cluster-scoped, or not given."""
    name: str


def key(obj: Mapping[str, Any]) -> Key:
    """The key of an object that has `apiVersion`, `kind` and `metadata.name`."""
    metadata = obj["metadata"]
    return Key(obj["apiVersion"], obj["kind"], metadata.get("namespace") or None, metadata["name"])


def is_secret(obj: Mapping[str, Any]) -> bool:
    """Whether an object is a Secret of Kubernetes itself, not a custom resource of that name."""
    return obj.get("kind") == "Secret" and obj.get("apiVersion") == "v1"


def is_namespace(obj: Mapping[str, Any]) -> bool:
    """Whether an object is a Namespace of Kubernetes itself."""
    return obj.get("kind") == "Namespace" and obj.get("apiVersion") == "v1"


def opened(value: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:  # noqa: ANN401 - what a file held
    """A document's object, or those of its list, each with its location. Raises `BadInput` for anything else."""
    if _is_list(value):
        kind = str(value["kind"]).removesuffix("List")
        inherited = {"apiVersion": value.get("apiVersion"), "kind": kind} if kind else {}
        for number, item in enumerate(value["items"], 1):  # typed lists have the kind only once
            plain = isinstance(item, dict) and not {"apiVersion", "kind"} & item.keys()
            yield from opened({**inherited, **item} if plain else item, f"{place}, item {number}")
    else:
        yield place, _checked(value, place)


def refused(place: str, why: str) -> BadInput:
    """The error for something that cannot be applied."""
    return BadInput(f"{place} is not an object that can be applied", why=why, fix="correct it there, then run it again")


def _is_list(value: Any) -> bool:  # noqa: ANN401
    """Whether it is `kind: List` or a typed list; a single object whose kind ends in List has a name."""
    if not isinstance(value, dict) or not isinstance(value.get("items"), list):
        return False
    metadata = value.get("metadata")
    named = isinstance(metadata, dict) and bool(metadata.get("name"))
    return str(value.get("kind", "")).endswith("List") and not named


def _checked(obj: Any, place: str) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(obj, dict):
        raise refused(place, f"it is a {type(obj).__name__}, not an object with apiVersion, kind and metadata")
    for field in ("apiVersion", "kind"):
        if not isinstance(obj.get(field), str) or not obj[field]:
            raise refused(place, f"it has no {field}")
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        raise refused(place, "it has no metadata")
    if not isinstance(metadata.get("name"), str) or not metadata["name"]:
        more = "; generateName would create a new object at every run" if "generateName" in metadata else ""
        raise refused(place, f"it has no metadata.name{more}")
    if not isinstance(metadata.get("namespace") or "", str):
        raise refused(place, "metadata.namespace is not a string")
    for field in ("labels", "annotations"):
        texts = metadata.get(field) or {}
        if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
            raise refused(place, f"metadata.{field} has a value that is not a string; put it in quotes")
    return obj


def decoded(secret: Mapping[str, Any]) -> dict[str, bytes]:
    """A Secret's values; `stringData` wins over `data`, as in the API server.

    Invalid base64 is returned unchanged: the server will reject it.
    """
    found: dict[str, bytes] = {}
    for name, value in _values(secret, "data").items():
        text = str(value or "").encode()
        try:
            found[name] = base64.b64decode(b"".join(text.split()), validate=True)
        except binascii.Error:
            found[name] = text
    found.update((name, str(value or "").encode()) for name, value in _values(secret, "stringData").items())
    return found


def as_stored(desired: Mapping[str, Any]) -> Mapping[str, Any]:
    """A Secret as the API stores it: `stringData` is merged into `data`."""
    texts = desired.get("stringData")
    if desired.get("kind") != "Secret" or not isinstance(texts, Mapping):
        return desired
    stored = {name: base64.b64encode(str(text).encode()).decode() for name, text in texts.items()}
    return {**desired, "data": {**(desired.get("data") or {}), **stored}}


def shown(path: Path) -> str:
    """A path as text: `spec.ports[0].port`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def key_of(item: Any, key: str) -> Any:  # noqa: ANN401 - any JSON values
    """The value of a list item's key, or its default."""
    return item.get(key, _KEY_DEFAULTS.get(key)) if isinstance(item, dict) else None


def index(rows: Sequence[Any], keys: Mapping[str, Any]) -> int | None:
    """The position of the item with these keys."""
    found = (n for n, row in enumerate(rows) if all(key_of(row, key) == value for key, value in keys.items()))
    return next(found, None)


def _values(secret: Mapping[str, Any], field: str) -> dict[str, Any]:
    found = secret.get(field)
    return found if isinstance(found, dict) else {}


def deletion_blockers(obj: Mapping[str, Any]) -> str:
    """What blocks the deletion of an object: its finalizers, or the messages of a namespace's conditions."""
    rows = (obj.get("status") or {}).get("conditions") or ()
    messages = [str(row.get("message", "")) for row in rows if row.get("status") == "True" and row.get("message")]
    return ", ".join(obj["metadata"].get("finalizers") or ()) or "; ".join(messages) or "it is being deleted"


def digest(value: object) -> str:
    """16 hexadecimal digits, equal for equal JSON values in any order. Fit for a label's value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256(text, 16)


def finish(obj: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with the label, unless it names another manager, and with the fingerprint."""
    done = copy.deepcopy(dict(obj))
    metadata = done["metadata"]
    metadata["labels"] = {MANAGED_BY: FIELD_MANAGER, **(metadata.get("labels") or {})}
    annotations = {
        name: text for name, text in (metadata.pop("annotations", None) or {}).items() if name != FINGERPRINT
    }
    if annotations:
        metadata["annotations"] = annotations
    if not is_secret(done):
        metadata["annotations"] = {**annotations, FINGERPRINT: digest(done)}
    return done


def is_marked(there: Mapping[str, Any] | None) -> bool:
    """Whether an object exists, with the additions of `finish`."""
    metadata = there["metadata"] if there is not None else {}
    ours = (metadata.get("labels") or {}).get(MANAGED_BY) == FIELD_MANAGER
    return ours and FINGERPRINT in (metadata.get("annotations") or {})


def unmarked(obj: Mapping[str, Any]) -> dict[str, Any]:
    """A copy without the additions of `finish`: the object as in the user's file."""
    metadata = dict(obj["metadata"])
    for part, name, own in (("labels", MANAGED_BY, FIELD_MANAGER), ("annotations", FINGERPRINT, None)):
        texts = metadata.pop(part, None) or {}
        rest = {key: text for key, text in texts.items() if key != name or own not in (None, text)}
        if rest:
            metadata[part] = rest
    return {**obj, "metadata": metadata}


def fill(value: Any, values: Mapping[str, str]) -> Any:  # noqa: ANN401 - any JSON value, and the same kind comes back
    """A copy with `${NAME}` replaced in every string, for the given names; `$${NAME}` becomes the text `${NAME}`.

    Keys, other names (with one `$` or two) and every other `$` stay as they are; replacements are not expanded
    again.
    """
    if not values:
        return value
    pattern = re.compile(r"\$(\$?)\{(" + "|".join(map(re.escape, values)) + r")\}")

    def filled(part: Any) -> Any:  # noqa: ANN401
        if isinstance(part, str):
            return pattern.sub(lambda found: found[0][1:] if found[1] else values[found[2]], part)
        if isinstance(part, dict):
            return {name: filled(inner) for name, inner in part.items()}
        if isinstance(part, list):
            return [filled(inner) for inner in part]
        return part

    return filled(value)


def repeat(value: Any, name: str, texts: Sequence[str]) -> Any:  # noqa: ANN401
    """A copy in which a list item that contains `${NAME}` is repeated for each text, with it filled in.

    Of nested lists the innermost repeats. Outside a list `${NAME}` stays; so does `$${NAME}`.
    """
    if isinstance(value, dict):
        return {key: repeat(inner, name, texts) for key, inner in value.items()}
    if not isinstance(value, list):
        return value
    done: list[Any] = []
    for item in (repeat(inner, name, texts) for inner in value):
        copies = [fill(item, {name: text}) for text in texts]
        named = fill(item, {name: ""}) != fill(item, {name: "x"})  # `$${NAME}` does not count
        done += copies if named else [item]
    return done


_MANY = 2
"""From this number of objects of one kind, one list is cheaper than single reads."""
NO_RELEASES = "fieldSelector=type%21%3Dhelm.sh%2Frelease.v1"
"""Filter for lists of Secrets: Helm stores each revision of a release in one of up to 1 MiB."""

_OF_K3S = re.compile(
    r"(?:[^/]+\.)?(?:traefik\.io|containo\.us|cattle\.io|gateway\.networking\.k8s\.io|metrics\.k8s\.io)/.*"
)
"""Versions of the API groups that k3s installs while it starts (k3s: manifests/)."""


class Resources:
    """Kinds and their paths, cached by group and version. Thread-safe."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, tuple[str, bool]]] = {}

    def find(self, api_version: str, kind: str) -> tuple[str, bool] | None:
        """Plural name, and whether it is namespaced; None if the server does not serve the kind (yet)."""
        with self._lock:
            found = self._known.get(api_version, {}).get(kind)
            if found is None:  # its CRD may be new
                self._known[api_version] = self._query(api_version)
                found = self._known[api_version].get(kind)
            return found

    def _query(self, api_version: str) -> dict[str, tuple[str, bool]]:
        try:
            rows = self._api.get(root(api_version))["resources"]
        except ApiError as error:
            # an aggregated API that does not run yet counts as missing, not as a failure (k3s#7021)
            if error.code == 404 or (error.code == 503 and not built_in(api_version)):
                return {}
            raise
        return {row["kind"]: (row["name"], bool(row["namespaced"])) for row in rows or () if "/" not in row["name"]}


def of_k3s(api_version: str) -> bool:
    """Whether an API group is one that k3s installs while it starts."""
    return _OF_K3S.fullmatch(api_version) is not None


def display(obj: Mapping[str, Any]) -> str:
    """An object for display: namespace/kind/name."""
    namespace = obj["metadata"].get("namespace")
    return f"{namespace + '/' if namespace else ''}{obj['kind'].lower()}/{obj['metadata']['name']}"


def root(api_version: str) -> str:
    """The API path of a group and version."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def path(api_version: str, plural: str, namespace: str = "", name: str = "") -> str:
    """The API path of a list or an object."""
    middle = f"/namespaces/{namespace}" if namespace else ""
    return f"{root(api_version)}{middle}/{plural}" + (f"/{name}" if name else "")


def live(api: Api, resources: Resources, keys: Iterable[Key]) -> dict[Key, Mapping[str, Any] | None]:
    """Each live object; None if it does not exist, or its kind is unknown or cannot be converted yet.

    Objects of one kind in several namespaces are read by one list over all namespaces.
    """
    found: dict[Key, Mapping[str, Any] | None] = {}
    groups: dict[tuple[str, str], list[Key]] = defaultdict(list)
    for key in keys:
        found[key] = None
        groups[key.api_version, key.kind].append(key)
    for (api_version, kind), group in groups.items():
        where = resources.find(api_version, kind)
        if where is not None:
            try:
                there = _look(api, api_version, kind, where, group)
            except ApiError as error:
                if "conversion webhook" not in error.why:
                    raise
                there = {}  # the conversion webhook's pods start, or are gone
            found |= {key: there.get(_place(key, namespaced=where[1])) for key in group}
    return found


def _place(key: Key, *, namespaced: bool) -> tuple[str, str]:
    """Namespace and name; the namespace of a cluster-scoped object is ignored."""
    return ((key.namespace or "default") if namespaced else "", key.name)


def _look(
    api: Api, api_version: str, kind: str, where: tuple[str, bool], keys: Sequence[Key]
) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Objects of one kind by namespace and name: single reads for few, else one list."""
    plural, namespaced = where
    places = {_place(key, namespaced=namespaced) for key in keys}
    if len(places) >= _MANY:
        scopes = {namespace for namespace, _ in places}
        scope = path(api_version, plural, scopes.pop() if len(scopes) == 1 else "")
        scope += f"?{NO_RELEASES}" if (api_version, kind) == ("v1", "Secret") else ""
        try:
            items = api.get(scope)["items"] or ()
        except ApiError as error:
            if error.code != 403:  # without permission to list, single reads may be allowed
                raise
        else:
            # list items do not have their kind (apimachinery: the list has it for all)
            named = ({"apiVersion": api_version, "kind": kind, **item} for item in items)
            return {(item["metadata"].get("namespace", ""), item["metadata"]["name"]): item for item in named}
    single = {place: _one(api, path(api_version, plural, *place), kind) for place in places}
    return {place: item for place, item in single.items() if item is not None}


def _one(api: Api, where: str, kind: str) -> Mapping[str, Any] | None:
    try:
        item: Mapping[str, Any] = api.get(where)
    except ApiError as error:
        if error.code == 404:
            return None
        if error.code == 403 and kind == "Namespace":  # what is in it may be accessible nevertheless
            return {"apiVersion": "v1", "kind": kind, "metadata": {"name": where.rpartition("/")[2]}}
        raise
    return item
