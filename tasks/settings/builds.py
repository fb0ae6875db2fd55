"""The builds that are wanted, what their images are called, and what forbids one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tasks.core.errors import BadInput
from tasks.core.imageref import registry_of
from tasks.settings.derived import push_container
from tasks.settings.origin import Finding, nearest

if TYPE_CHECKING:
    from tasks.settings.schema import Build, Settings

_PLACEHOLDER = re.compile(r"(\$?)\$\{((?:image|repository|tag):([^}]*))\}")


def wanted(settings: Settings) -> list[Build]:
    """Those that are enabled."""
    return [build for build in settings.builds if build.enabled]


def refuse_unknown(settings: Settings, value: Any, where: str) -> None:  # noqa: ANN401 - any JSON value
    """Raises `BadInput` for a placeholder of a build that there is not."""
    names = [build.name for build in wanted(settings)]
    for match in _PLACEHOLDER.finditer(json.dumps(value, ensure_ascii=False)):
        if match[1] or match[3] in names:
            continue
        near = nearest(match[3], names)
        off = any(build.name == match[3] for build in settings.builds)
        raise BadInput(
            f"{where}: ${{{match[2]}}} is of no build",
            why="that build is not enabled" if off else f"there are: {', '.join(names) or 'none'} (settings: builds)",
            fix=f"did you mean {near}?" if near else "correct it, or add that build",
        )


def on_push_registry(build: Build) -> bool:
    """Whether its image goes to the push registry: it names no other one."""
    return not registry_of(build.repository)


def repository(settings: Settings, build: Build) -> str:
    """Its image without a tag, as nodes know it: the push registry by its container, never by a port of the host."""
    if on_push_registry(build):
        return f"{push_container(settings)}:5000/{build.repository}"
    return build.repository


def findings(settings: Settings) -> Iterator[Finding]:
    """What is wrong with those that are wanted."""
    first: dict[str, int] = {}
    for number, build in enumerate(settings.builds):
        if not build.enabled:
            continue
        path = ("builds", number)
        if first.setdefault(build.name, number) != number:
            why = "another build has that name"
            yield Finding(path=(*path, "name"), text=f"is '{build.name}'", why=why, fix="rename one, or disable it")
        if on_push_registry(build) and not settings.registries.push:
            yield Finding(
                path=(*path, "image"),
                text=f"is '{build.repository}'",
                why="it names no registry, and registries.push is false: nodes could pull it from nowhere",
                fix="name one that you can push to, such as ghcr.io/me/api, or set registries.push",
            )
