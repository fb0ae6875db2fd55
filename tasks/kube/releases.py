"""Helm's releases, read from their Secrets in the cluster without a helm process.

Helm stores each revision in a Secret of type helm.sh/release.v1: JSON, gzip-compressed, in an additional base64 layer
(Helm 3 and 4: `pkg/storage/driver/util.go`).
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tasks.clients.helm import KEEP
from tasks.kube.client import permitted
from tasks.kube.objects import Key, Resources, live
from tasks.kube.readiness import waits_for
from tasks.settings.derived import FINGERPRINT

if TYPE_CHECKING:
    from tasks.core.yaml import YamlError
    from tasks.kube.client import Api

_HELMS, _TYPE = "labelSelector=owner%3Dhelm", "fieldSelector=type%3Dhelm.sh%2Frelease.v1"
_LIST = f"/api/v1/secrets?{_HELMS}&{_TYPE}"
SERVER_SIDE = "ssa"
"""Helm 4: `ApplyMethodServerSideApply`; Helm 3 writes nothing."""
OWN_LABELS = frozenset({"name", "owner", "status", "version", "createdAt", "modifiedAt"})
"""Labels that Helm itself sets on its Secrets."""


@dataclass(frozen=True, kw_only=True)
class LiveRelease:
    """The latest revision of a release."""

    name: str
    namespace: str
    status: str
    """deployed, failed, pending-install, pending-upgrade, pending-rollback, uninstalling, …"""
    revision: int
    labels: Mapping[str, str]
    """Labels set by `helm upgrade --labels`."""
    by_hand: bool = False
    """Whether somebody else has upgraded it or rolled it back since: Helm copies labels from earlier revisions."""
    packed: str = field(default="", repr=False)
    """The revision as stored in its Secret. Decoded on demand: a cluster may have many releases of others."""
    packed_before: str = field(default="", repr=False)
    """The same for the previous revision; empty if there is none."""

    @property
    def fingerprint(self) -> str:
        """What this project installed it with last; empty if it did not."""
        return self.labels.get(FINGERPRINT, "").partition(".")[0]

    @cached_property
    def server_side(self) -> bool:
        """Whether it was installed by server-side apply, so that the next upgrade uses it too."""
        return self._revision.get("apply_method") == SERVER_SIDE

    @cached_property
    def server_side_before(self) -> bool:
        """The same for the previous revision."""
        return payload(self.packed_before).get("apply_method") == SERVER_SIDE

    @cached_property
    def objects(self) -> tuple[Key, ...]:
        """The objects of its manifest, without hooks, which may be gone."""
        return tuple(ref for ref, item in self.configured.items() if _stays(item))

    @cached_property
    def configured(self) -> Mapping[Key, Mapping[str, Any]]:
        """The objects of its manifest as rendered."""
        items = documents(self._manifest)
        return {ref: item for item in items if (ref := _ref(item, self.namespace)) is not None}

    @cached_property
    def kept(self) -> frozenset[Key]:
        """The objects that Helm leaves when it uninstalls it, since its chart says so; without CRDs in `crds/`."""
        notes = {ref: _part(_part(item, "metadata"), "annotations") for ref, item in self.configured.items()}
        return frozenset(ref for ref, each in notes.items() if each.get(KEEP) == "keep")

    @property
    def values(self) -> Mapping[str, Any]:
        """The values that it was installed with; they may contain secrets."""
        return _part(self._revision, "config")

    @property
    def chart(self) -> str:
        """Name and version of its chart; empty if unknown."""
        chart = _part(_part(self._revision, "chart"), "metadata")
        return " ".join(str(chart[name]) for name in ("name", "version") if chart.get(name))

    @cached_property
    def unreadable(self) -> str:
        """The part of its manifest that cannot be parsed, in one line; empty if there is none."""
        if not self._revision:
            return "the Secret of its revision contains no release"
        return unreadable(self._manifest)

    @cached_property
    def _revision(self) -> Mapping[str, Any]:
        return payload(self.packed)

    @property
    def _manifest(self) -> str:
        return str(self._revision.get("manifest") or "")

    @cached_property
    def hook_objects(self) -> tuple[Key, ...]:
        """The objects of its hooks."""
        items = [item for each in _rows(self._revision, "hooks") for item in documents(str(each.get("manifest") or ""))]
        return tuple(dict.fromkeys(ref for item in items if (ref := _ref(item, self.namespace)) is not None))

    @property
    def installs_by_hooks(self) -> bool:
        """Whether it has hooks that an installation alone runs, and no upgrade after one that failed."""
        events = [{str(event) for event in each.get("events") or ()} for each in _rows(self._revision, "hooks")]
        return any(f"{when}-install" in of and f"{when}-upgrade" not in of for of in events for when in ("pre", "post"))

    @property
    def ended_before_objects(self) -> bool:
        """Whether its first installation ended at such hooks, before anything of its manifest was made."""
        if (self.status, self.revision) != ("failed", 1):
            return False
        message = str(_part(self._revision, "info").get("description") or "")  # Helm: pkg/action/install.go
        return "failed pre-install" in message and self.installs_by_hooks

    @cached_property
    def begun(self) -> str:
        """When it was first installed, in RFC 3339; empty if unknown."""
        return str(_part(self._revision, "info").get("first_deployed") or "")

    @cached_property
    def definitions(self) -> tuple[str, ...]:
        """Names of its CRDs, as `plural.group`; those in its chart's `crds/` are not in its manifest."""
        files = _rows(_part(self._revision, "chart"), "files")
        brought = [str(each.get("data") or "") for each in files if str(each.get("name")).startswith("crds/")]
        texts = (_text(data) for data in brought)
        found = (*self.objects, *(ref for text in texts for ref in refs(text, self.namespace)))
        return tuple(ref.name for ref in found if ref.kind == "CustomResourceDefinition")

    @property
    def workloads(self) -> tuple[Key, ...]:
        """Its objects that become ready only some time after their creation."""
        return tuple(ref for ref in self.objects if waits_for(ref.api_version, ref.kind))


def release_in(api: Api, namespace: str, name: str) -> LiveRelease | None:
    """The latest revision of one release. Raises `ApiError`."""
    return releases(api, (namespace, name)).get((namespace, name))


def releases(
    api: Api, only: tuple[str, str] | None = None, *, homes: Mapping[str, bool] = MappingProxyType({})
) -> dict[tuple[str, str], LiveRelease]:
    """The latest revision of every release, by namespace and name; `only` limits it to one. Raises `ApiError`.

    `homes`: the namespaces for a login that may not read all, and whether each of them must be readable.
    """
    if only is not None:
        return _grouped(api.get(f"{_in(only[0])}?{_HELMS}%2Cname%3D{only[1]}&{_TYPE}")["items"] or ())
    found = permitted(api, _LIST) if homes else api.get(_LIST)["items"] or ()
    if found is None:
        lists = {home: f"{_in(home)}?{_HELMS}&{_TYPE}" for home in homes}
        rows = (api.get(path)["items"] if homes[home] else permitted(api, path) for home, path in lists.items())
        found = [secret for row in rows for secret in row or ()]
    return _grouped(found)


def _in(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/secrets"


def _grouped(secrets: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], LiveRelease]:
    revisions: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for secret in secrets:
        labels = secret["metadata"].get("labels") or {}
        revisions[secret["metadata"]["namespace"], labels.get("name", "")].append(secret)
    return {place: _release(*place, *sorted(found, key=_revision)) for place, found in revisions.items()}


def present(api: Api, release: LiveRelease) -> dict[Key, Mapping[str, Any]]:
    """The objects of a release's manifest that exist. Raises `ApiError`."""
    found = live(api, Resources(api), release.objects)
    return {key: item for key, item in found.items() if item is not None}


def awaited_refs(manifest: str, namespace: str) -> tuple[Key, ...]:
    """The objects of a release's manifest that must become ready; the default namespace is the release's."""
    return tuple(ref for ref in refs(manifest, namespace) if waits_for(ref.api_version, ref.kind))


def refs(manifest: str, namespace: str) -> tuple[Key, ...]:
    """The objects of a manifest, without those that Kubernetes removes when they are done."""
    staying = [item for item in documents(manifest) if _stays(item)]
    return tuple(dict.fromkeys(ref for item in staying if (ref := _ref(item, namespace)) is not None))


def _stays(item: Mapping[str, Any]) -> bool:
    """Whether Kubernetes does not remove it when it is done."""
    return _part(item, "spec").get("ttlSecondsAfterFinished") is None


def _ref(item: Mapping[str, Any], namespace: str) -> Key | None:
    metadata = _part(item, "metadata")
    name = metadata.get("name")
    if not name:
        return None
    api_version, kind = str(item.get("apiVersion", "")), str(item.get("kind", ""))
    return Key(api_version, kind, str(metadata.get("namespace") or namespace), str(name))


def documents(manifest: str) -> list[dict[str, Any]]:
    """The objects of a manifest, including items of lists; what cannot be parsed is skipped."""
    found: list[dict[str, Any]] = []
    for document in _readable(manifest)[0]:
        if not isinstance(document, dict):
            continue
        items = document.get("items") if str(document.get("kind", "")).endswith("List") else None
        found += [each for each in (items if isinstance(items, list) else [document]) if isinstance(each, dict)]
    return found


def unreadable(manifest: str) -> str:
    """The part of a manifest that cannot be parsed, in one line; empty if there is none."""
    errors = _readable(manifest)[1]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{errors[0]}{more}" if errors else ""


@lru_cache(maxsize=8)
def _readable(manifest: str) -> tuple[list[Any], list[YamlError]]:
    """As `readable`, cached: a manifest may be large, and is parsed for several callers."""
    from tasks.core.yaml import readable

    return readable(manifest)


def _text(data: str) -> str:
    """The text of a chart's file; empty if it is not base64."""
    try:
        return base64.b64decode(data).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


def _rows(item: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = item.get(name)
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _part(item: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = item.get(name)
    return found if isinstance(found, Mapping) else {}


def _packed(secret: Mapping[str, Any]) -> str:
    return str((secret.get("data") or {}).get("release", ""))


def _revision(secret: Mapping[str, Any]) -> int:
    text = str((secret["metadata"].get("labels") or {}).get("version", ""))
    return int(text) if text.isdigit() else 0


def _release(namespace: str, name: str, *revisions: Mapping[str, Any]) -> LiveRelease:
    """From the Secrets of its revisions, in order."""
    secret = revisions[-1]
    *earlier, mark = [str((each["metadata"].get("labels") or {}).get(FINGERPRINT, "")) for each in revisions]
    labels = secret["metadata"].get("labels") or {}
    return LiveRelease(
        name=name,
        namespace=namespace,
        status=str(labels.get("status", "unknown")),
        revision=_revision(secret),
        labels={key: value for key, value in labels.items() if key not in OWN_LABELS},
        by_hand=mark in earlier and "." in mark,
        packed=_packed(secret),
        packed_before=_packed(revisions[-2]) if earlier else "",
    )


def payload(packed: str) -> Mapping[str, Any]:
    """The decoded Secret; empty if it cannot be read."""
    try:
        data = base64.b64decode(base64.b64decode(packed))
        found = json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    except (binascii.Error, ValueError, OSError, EOFError, zlib.error, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
