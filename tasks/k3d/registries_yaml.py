"""The nodes' registries.yaml: the mirrors that they try before the registry itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.core.documents import documents, read_text
from tasks.core.errors import BadInput
from tasks.core.redact import conceal
from tasks.settings.derived import mirrors, push_container
from tasks.settings.schema import Settings

TEMPLATE = "files/registries.yaml"
_PARTS = ("auths", "configs", "mirrors")
_MIRROR = ("endpoint", "rewrite")
"""Keys that k3s and k3d read; they silently ignore any other (source: rancher/wharfie, registries)."""
_LOGIN = ("password", "auth", "identitytoken", "identity_token")


def nodes_file(settings: Settings, root: Path, port: int) -> str:
    """The nodes' registries.yaml, with the push registry published at `port`. Raises `BadInput`."""
    push = push_container(settings) if settings.registries.push else None
    return registries_yaml(root / TEMPLATE, mirrors(settings), push=push, port=port)


def registries_yaml(
    template: Path,
    mirrors: Mapping[str, Sequence[str]],
    *,
    push: str | None = None,
    port: int | None = None,
) -> str:
    """The file's text (docs: k3s, private registry configuration).

    `mirrors`: endpoints by the name in image references. `push`: the container of the push registry, which
    nodes reach at its port 5000; images are named by that, or by the host's `port`. Entries of the template
    stay, and come first. containerd itself adds the registry as the last endpoint. Raises `BadInput` for
    a template that k3s cannot read.
    """
    import yaml

    config = _template(template)
    found: dict[str, Any] = config["mirrors"]
    for name, endpoints in mirrors.items():
        _add(found, name, endpoints)
    if push is not None:
        outside = () if port is None else (f"{push}:{port}", f"localhost:{port}", f"127.0.0.1:{port}")
        for name in (f"{push}:5000", *outside):
            _add(found, name, [f"http://{push}:5000"])
    text: str = yaml.safe_dump({name: part for name, part in config.items() if part}, sort_keys=True)
    return text


def _add(mirrors: dict[str, Any], name: str, endpoints: Sequence[str]) -> None:
    mirror = mirrors.get(name, {})
    mirrors[name] = {**mirror, "endpoint": list(dict.fromkeys([*mirror.get("endpoint", ()), *endpoints]))}


def _template(path: Path) -> dict[str, dict[str, Any]]:
    """The parts of the template, each a mapping of mappings."""
    found = documents(read_text(path, "the template of the nodes' registries.yaml"), str(path), unique=True)
    value = found[0].value if found else {}
    if len(found) > 1 or not isinstance(value, dict):
        raise _refused(path, "it must be one document, a mapping")
    _check_names(path, "", value, _PARTS)
    config: dict[str, dict[str, Any]] = {}
    for part in _PARTS:
        entries = value.get(part) or {}
        if not isinstance(entries, dict) or not all(isinstance(each or {}, dict) for each in entries.values()):
            raise _refused(path, f"{part} must be a mapping of mappings, by the registries' names")
        config[part] = {name: each or {} for name, each in entries.items()}
    for name, mirror in config["mirrors"].items():
        config["mirrors"][name] = _mirror(path, f"mirrors.{name}", mirror)
    _hide(config)
    return config


def _mirror(path: Path, where: str, mirror: dict[str, Any]) -> dict[str, Any]:
    """A mirror without its empty fields."""
    _check_names(path, f"{where}.", mirror, _MIRROR)
    endpoints, rewrite = mirror.get("endpoint") or [], mirror.get("rewrite") or {}
    if not isinstance(endpoints, list) or not all(isinstance(each, str) and each for each in endpoints):
        raise _refused(path, f"{where}.endpoint must be a list of addresses")
    if not isinstance(rewrite, dict) or not all(isinstance(each, str) for each in rewrite.values()):
        raise _refused(path, f"{where}.rewrite must be a mapping of strings")
    return {name: part for name, part in (("endpoint", endpoints), ("rewrite", rewrite)) if part}


def _check_names(path: Path, where: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    odd = sorted(set(given) - set(known))
    if odd:
        raise _refused(path, f"k3s knows no {where}{odd[0]}; it knows {' and '.join(known)}")


def _hide(config: Mapping[str, Mapping[str, Any]]) -> None:
    """Logins do not belong in the template; those found there are masked nevertheless."""
    for each in (*config["auths"].values(), *(entry.get("auth") for entry in config["configs"].values())):
        if isinstance(each, dict):
            for name in _LOGIN:
                conceal(str(each.get(name) or ""))


def _refused(path: Path, why: str) -> BadInput:
    return BadInput(f"{path} is not a valid registries.yaml", why=why, fix="correct it; its comment has an example")
