"""One context of the user's kubeconfig, with everything that it needs, as a file of its own."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.clients.kubeconfig import file_of_user, files, readable

_DATA = (("cluster", "certificate-authority"), ("user", "client-certificate"), ("user", "client-key"))
"""Fields with a file's path, whose content is the field `NAME-data`."""


def of_context(environ: Mapping[str, str], name: str) -> str | None:
    """As `kubectl config view --minify --flatten --raw` does it, without a process; None if something is missing.

    The kubectl of the Google Cloud CLI even queries the cluster for its version first, with the user's credential
    plugin. Names that are there twice are left to kubectl, too.
    """
    parts: dict[str, dict[str, Any]] = {}
    try:
        _file, parts["context"] = _only(environ, "context", name)
        for kind in ("cluster", "user"):
            file, parts[kind] = _only(environ, kind, parts["context"][kind])
            for field in (field for of, field in _DATA if of == kind and parts[kind].get(field)):
                if parts[kind].get(f"{field}-data"):
                    return None
                content = (file.parent / parts[kind].pop(field)).read_bytes()
                parts[kind][f"{field}-data"] = base64.b64encode(content).decode()
    except (OSError, LookupError, TypeError, ValueError):
        return None
    names = {**parts["context"], "context": name}
    rows = {f"{kind}s": [{"name": names[kind], kind: part}] for kind, part in parts.items()}
    return json.dumps({"apiVersion": "v1", "kind": "Config", **rows, "current-context": name})


def rooted(text: str, environ: Mapping[str, str]) -> str:
    """One context's kubeconfig, with paths relative to the user's file that has its user.

    `kubectl config view --flatten` does not resolve `tokenFile` and the path of a credential plugin.
    """
    from tasks.core import yaml

    document, changed = yaml.load(text) or {}, False
    for row in document.get("users") or ():
        user = row.get("user") or {}
        for part, field in ((user, "tokenFile"), (user.get("exec") or {}, "command")):
            given = str(part.get(field) or "")
            if not given or Path(given).is_absolute() or (field == "command" and "/" not in given):
                continue
            file = file_of_user(environ, row["name"])
            part[field], changed = str(file.parent / given) if file else given, file is not None
    return json.dumps(document) if changed else text


def _named(environ: Mapping[str, str], kind: str, name: str) -> list[tuple[Path, Any]]:
    """All entries of that name, with their files. An unreadable file has none."""
    rows = ((path.absolute(), row) for path in files(environ) for row in readable(path).get(f"{kind}s") or ())
    return [(path, row.get(kind)) for path, row in rows if row.get("name") == name]


def _only(environ: Mapping[str, str], kind: str, name: str) -> tuple[Path, dict[str, Any]]:
    """The entry of that name, and its file. Raises `ValueError` or `TypeError` unless there is exactly one."""
    ((file, part),) = _named(environ, kind, name)
    return file, dict(part)
