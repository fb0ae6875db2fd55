"""A folder of logs and objects for whoever looks for a cause: without secrets, each file and all together bounded."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.errors import BadInput, LaunchError
from tasks.core.files import file_name, write_whole
from tasks.core.redact import MASK, conceal_found, redact
from tasks.core.units import MIB, mib
from tasks.kube.objects import decoded, is_secret
from tasks.kube.releases import releases
from tasks.run.preview import conceal_secrets, conceal_values
from tasks.settings.origin import may_be_secret, without_assigned
from tasks.settings.rules import releases as enabled_releases

if TYPE_CHECKING:
    from tasks.facts.facts import Facts
    from tasks.kube.client import Api
    from tasks.run.session import Session

Item = Mapping[str, Any]
FILE, WHOLE = 2 * MIB, 100 * MIB
"""Bytes of one file, and of all together."""
_STRING = 20_000
"""Characters of one text in an object: charts and certificates may stand in it."""
_LEFT_OUT = frozenset({"managedFields", "openAPIV3Schema", "kubectl.kubernetes.io/last-applied-configuration"})
"""Fields that repeat the object, or are large and tell nothing of a failure."""
_ASSIGNED = re.compile(r"[:=][ \t]*[\"']?([^\s\"',;{}]{8,})")
"""A value in a file that is kept in a Secret: `password=…`, `"auth": "…"`."""


class Export:
    """The folder. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        """Make it, mode 0700. Raises `BadInput` where it holds something, or cannot be made."""
        self.folder = folder
        self.missing: list[str] = []
        """What could not be collected, each with the reason."""
        self.files = self.bytes = 0
        self._lock = threading.Lock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise BadInput(
                    f"{folder} is not empty",
                    why="files of an earlier export, or of something else, would be mixed with those of this one",
                    fix="name another folder, or remove what is in it",
                )
        except OSError as error:
            raise _unwritable(folder, error) from None

    def write(self, name: str, text: str, most: int = FILE) -> None:
        """A file at a path below the folder, its secrets masked; of a long text the middle is left out."""
        data = shortened(without_assigned(redact(text)), most).encode("utf-8", "replace")
        with self._lock:
            if self.bytes + len(data) > WHOLE:
                self.missing.append(f"{name}: the export would be larger than {mib(WHOLE)}")
                return
            self.files, self.bytes = self.files + 1, self.bytes + len(data)
        path = self.folder.joinpath(*(_safe(part) for part in name.split("/")))
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(path, data.decode())
        except OSError as error:
            raise _unwritable(path, error) from None

    def json(self, name: str, value: Any, most: int = FILE) -> None:  # noqa: ANN401 - any JSON value
        """A file with a JSON document."""
        self.write(name, json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n", most)

    @contextlib.contextmanager
    def collecting(self, what: str) -> Iterator[None]:
        """What cannot be read within is noted as missing, and is no failure: a broken cluster is what it is for."""
        try:
            yield
        except BadInput:
            raise
        except LaunchError as error:
            self.missing.append(redact(f"{what}: {error.diagnosis.reason}"))


def _safe(part: str) -> str:
    """The name of a file in its own folder."""
    name = file_name(part)[:200]
    return name if name.strip(".") else f"_{name}"


def _unwritable(path: Path, error: OSError) -> BadInput:
    return BadInput(
        f"{path} cannot be written",
        why=error.strerror or str(error),
        fix="name a folder that may be written to, on a disk with room: --export DIR",
    )


def shortened(text: str, most: int) -> str:
    """At most about that many characters: the first quarter and the end, with what was left out said between them."""
    if len(text) <= most:
        return text
    head, tail = text[: most // 4], text[-(most * 3 // 4) :]
    return f"{head}\n⋯ {mib(len(text) - most)} left out ⋯\n{tail}"


def without_secrets(item: Item) -> dict[str, Any]:
    """An object without values that may be secret: those of a Secret, and what a name, a line or an address marks."""
    if is_secret(item):
        values = {name: f"{MASK} ({len(value)} bytes)" for name, value in decoded(item).items()}
        return {**_masked({name: part for name, part in item.items() if name != "stringData"}), "data": values}
    return dict(_masked(item))


def _masked(value: Any) -> Any:  # noqa: ANN401 - any JSON value, and the same kind comes back
    if isinstance(value, list):
        return [_masked(each) for each in value]
    if isinstance(value, str):
        return without_assigned(shortened(value, _STRING))
    if not isinstance(value, Mapping):
        return value
    named = may_be_secret(str(value.get("name", ""))) and isinstance(value.get("value"), str)
    return {
        name: _hidden(part) if may_be_secret(name) or (named and name == "value") else _masked(part)
        for name, part in value.items()
        if name not in _LEFT_OUT
    }


def _hidden(value: Any) -> Any:  # noqa: ANN401
    """In place of the value below a name that is a secret's; from now on its texts are masked elsewhere, too."""
    if isinstance(value, Mapping | list):
        return _masked(value) if isinstance(value, Mapping) else [_hidden(each) for each in value]
    if not isinstance(value, str) or not value:
        return value
    conceal_found(value)
    return MASK


def conceal_settings(session: Session) -> None:
    """Conceal what the settings' secrets hold, as far as their sources can be read, and secrets among values."""
    from tasks.facts.secrets import read_secrets
    from tasks.run.releases import merged_values

    settings = session.settings
    for secret in settings.secrets:
        with contextlib.suppress(LaunchError):
            alone = settings.model_copy(update={"secrets": [secret]})
            read_secrets(alone, session.environ, session.root, session.programs(), ("secrets",))
    for release in enabled_releases(settings):
        with contextlib.suppress(LaunchError):
            conceal_values(merged_values(release, session.root, {"IP": "", "DOMAIN": ""}))


def conceal_cluster(api: Api, namespaces: Iterable[str] | None, facts: Facts) -> None:
    """Conceal what Secrets and Helm's releases in the cluster hold; `namespaces`: None for all. Raises `ApiError`."""
    places = ["/api/v1/secrets"] if namespaces is None else [f"/api/v1/namespaces/{n}/secrets" for n in namespaces]
    query = "fieldSelector=type%21%3Dhelm.sh%2Frelease.v1"
    for place in places:
        secrets = [{**row, "apiVersion": "v1", "kind": "Secret"} for row in api.get(f"{place}?{query}")["items"] or ()]
        conceal_secrets(secrets)
        for each in secrets:
            for value in decoded(each).values():
                for found in _ASSIGNED.findall(value.decode("utf-8", "replace")):
                    conceal_found(found)
    named = [None] if namespaces is None else [(each.namespace, each.name) for each in facts.releases]
    for only in named:
        for installed in releases(api, only).values():
            conceal_values(installed.values)
