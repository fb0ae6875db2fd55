"""What would change in an object, field by field. For display, so it contains no secret values."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.core.redact import redact
from tasks.kube.objects import Path, is_secret
from tasks.settings.derived import FINGERPRINT
from tasks.settings.origin import may_be_secret

Item = Mapping[str, Any]
CREATE, CHANGE, DELETE = "create", "change", "delete"
_SERVERS = frozenset({"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"})
"""Metadata fields that the server updates with every change."""
_APPLIED = frozenset(
    {FINGERPRINT, "kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/revision"}
)
"""Annotations that repeat the object, with its secrets, or a digest of it, or count its changes."""
_KEYS = (("name",), ("mountPath",), ("containerPort", "protocol"), ("port", "protocol"), ("ip",), ("type",), ("key",))
"""Fields that identify items of a list: the first one that all items have, with different values."""


@dataclass(frozen=True, kw_only=True)
class FieldChange:
    """One field; None: it does not exist. Both are None for a secret value."""

    path: str
    before: str | None
    after: str | None
    secret: bool = False


@dataclass(frozen=True, kw_only=True)
class Change:
    """One object: created, changed or deleted. `note`: more about it, such as that the API will reject the change."""

    what: str
    action: str
    fields: tuple[FieldChange, ...] = ()
    note: str = ""


def field_changes(before: Item, after: Item) -> tuple[FieldChange, ...]:
    """The fields of an object that differ, except those that the server maintains."""
    secret = is_secret(after)
    return tuple(_field(*each, secret=secret) for each in _differing(_configured(before), _configured(after), ()))


def _configured(item: Item) -> Item:
    metadata = {name: value for name, value in item["metadata"].items() if name not in _SERVERS}
    annotations = metadata.pop("annotations", None) or {}
    rest = {name: text for name, text in annotations.items() if name not in _APPLIED}
    if rest:
        metadata["annotations"] = rest
    return {**{name: value for name, value in item.items() if name != "status"}, "metadata": metadata}


def _differing(before: Any, after: Any, path: Path) -> Iterator[tuple[Path, Any, Any]]:  # noqa: ANN401
    """Paths of scalar values that differ, with both values."""
    if before == after:
        return
    one, other = _parts(before, after)
    if one is None or other is None:
        yield path, before, after
        return
    for name in dict.fromkeys([*one, *other]):
        yield from _differing(one.get(name), other.get(name), (*path, name))


def _parts(before: Any, after: Any) -> tuple[dict[Any, Any] | None, dict[Any, Any] | None]:  # noqa: ANN401
    """The children of both by name or key; a missing value has none. None: compare the values as a whole."""
    one, other = ({} if each is None else each for each in (before, after))
    if isinstance(one, dict) and isinstance(other, dict):
        return one, other
    rows = [[] if each is None else each for each in (before, after)]
    if not all(isinstance(each, list) and all(isinstance(item, dict) for item in each) for each in rows):
        return None, None
    for names in _KEYS:
        keyed = [{_key(item, names): item for item in each if names[0] in item} for each in rows]
        if all(len(found) == len(each) for found, each in zip(keyed, rows, strict=True)):
            return keyed[0], keyed[1]
    return dict(enumerate(rows[0])), dict(enumerate(rows[1]))


def _key(item: Item, names: Sequence[str]) -> str:
    """In brackets, as in `shown`: `[app]`."""
    return f"[{'/'.join(str(item[name]) for name in names if name in item)}]"


def _field(path: Path, before: Any, after: Any, *, secret: bool) -> FieldChange:  # noqa: ANN401
    texts = [None if each is None else _text(each) for each in (before, after)]
    hidden = (secret and path[0] in ("data", "stringData")) or _hidden(path, [each or "" for each in texts])
    if isinstance(before, bool) or isinstance(after, bool):
        hidden = False
    shown = "".join(f"[{part}]" if isinstance(part, int) else part if part[:1] == "[" else f".{part}" for part in path)
    if hidden:
        texts = [None, None]
    return FieldChange(path=shown.removeprefix("."), before=texts[0], after=texts[1], secret=hidden)


def _text(value: Any) -> str:  # noqa: ANN401
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _hidden(path: Path, texts: Sequence[str]) -> bool:
    """Whether a value may be secret: by a name in its path, a known secret in it, or an assignment in its lines.

    If the new value contains a known secret, the old one may contain the previous secret.
    """
    if any(may_be_secret(str(part).strip("[]")) for part in path):
        return True
    lines = [set(text.splitlines()) for text in texts]
    changed = lines[0] ^ lines[1]
    return any(redact(text) != text for text in texts) or any(may_be_secret("", each) for each in changed)
