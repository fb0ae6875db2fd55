"""What k3s, or a component in it, says of arguments that it does not accept: with that it ends."""

from __future__ import annotations

import json
import re

from tasks.rehearsal.flags import refusal
from tasks.settings.k3s_flags import flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    Complaint = tuple[str, tuple[str, ...]]
    """At which stage of the node's start it is made, and what stands in the log then."""

DROP_INS = "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/"
_DROP_INS_SINCE = (1, 32)
"""The first k3s that reads them (docs: k3s, kubelet configuration files)."""
_KINDS = {"#": "i", "%": "f", "~": "d", "?": ""}
_STAGES = {"kube-apiserver": "apiserver"}
"""The others are started when the API answers."""


def arguments(cmd: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Flags of k3s with their values, of a container's command: its first word is server or agent."""
    known = flags(cmd[0] if cmd else "server")
    rest = list(cmd[1:])
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            continue
        name, sign, value = word.lstrip("-").partition("=")
        if sign or known.get(name, "?") == "?":
            yield name, value if sign else None
        else:
            yield name, rest.pop(0) if rest else None


def complaint(cmd: Sequence[str], image: str, files: Mapping[str, str]) -> Complaint | None:
    """What ends a node with this command and these files; None if nothing does."""
    role = cmd[0] if cmd else "server"
    known, given = flags(role), list(arguments(cmd))
    for name, value in given:
        if name not in known:
            return _usage(role, f"flag provided but not defined: -{name}")
        if known[name] == "#" and not re.fullmatch(r"\d+", value or ""):
            return _usage(role, f'invalid value "{value}" for flag -{name}: parse error')
    for component, name, value in components(given):
        said = _refused(component, name, value)
        if said:
            stage = _STAGES.get(component, "components")
            return stage, _said(component, said)
    return _configured(image, files)


def components(given: Sequence[tuple[str, str | None]]) -> Iterator[tuple[str, str, str | None]]:
    """Component, flag and value of each argument that k3s hands on."""
    for name, value in given:
        if name.endswith("-arg") and name != "etcd-arg" and value is not None:
            component = {
                "kube-controller-arg": "kube-controller-manager",
                "kube-cloud-controller-arg": "kube-cloud-controller-manager",
            }.get(name, name.removesuffix("-arg"))
            flag, sign, text = value.lstrip("-").partition("=")
            yield component, flag.replace("_", "-"), text if sign else None


def _refused(component: str, name: str, value: str | None) -> str:
    from tasks.rehearsal import component_flags

    known = component_flags.flags(component)
    head = "failed to parse kubelet flag: " if component == "kubelet" else ""
    if name not in known:
        return f"{head}unknown flag: --{name}"
    kind = _KINDS.get(known[name])
    if kind is None or (value is None and kind == ""):
        return ""
    why = refusal(kind, value or "")
    shown = f"-v, --{name}" if name == "v" else f"--{name}"
    return f'{head}invalid argument "{value or ""}" for "{shown}" flag: {why}' if why else ""


def _said(component: str, said: str) -> tuple[str, ...]:
    """k3s 1.33: the component's own words, then its own last line."""
    name = {"kube-cloud-controller-manager": "cloud-controller-manager"}.get(component, component)
    short = name.removeprefix("kube-") if name != "kube-proxy" else name
    return (f"Error: {said}", f'level=fatal msg="{short} exited: {_quoted(said)}"')


def _usage(role: str, said: str) -> Complaint:
    """As urfave/cli does it: the usage stands between."""
    title = "Run management server" if role == "server" else "Run node agent"
    lines = (f"Incorrect Usage: {said}", "", "NAME:", f"   k3s {role} - {title}", "", "USAGE:")
    return "start", (*lines, f"   k3s {role} [OPTIONS]", "", f'level=fatal msg="{_quoted(said)}"')


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def version(image: str) -> tuple[int, int]:
    """Kubernetes' major and minor, of a k3s image's tag; a new one where it tells none."""
    match = re.search(r":v?(\d+)\.(\d+)", image)
    return (int(match[1]), int(match[2])) if match else (1, 33)


def _configured(image: str, files: Mapping[str, str]) -> Complaint | None:
    """The kubelet's drop-ins: a field that it does not know, or whose value is of another type."""
    if version(image) < _DROP_INS_SINCE:
        return None
    for path in sorted(files):
        if path.startswith(DROP_INS) and path.endswith(".conf"):
            said = _unfit(path, files[path])
            if said:
                return "components", _said("kubelet", said)[1:]
    return None


def _unfit(path: str, text: str) -> str:
    from tasks.rehearsal.kubelet_fields import TYPES

    try:
        fields: Any = json.loads(text)
    except ValueError:
        from tasks.core import yaml

        fields = yaml.load(text)
    failed = f"failed to merge kubelet configs: failed to load kubelet dropin file, path: {path}, error: "
    if not isinstance(fields, dict) or fields.get("kind") != "KubeletConfiguration":
        return f"{failed}failed to load Kubelet config file {path}, error failed to decode: Object 'Kind' is missing"
    for name, value in fields.items():
        if name in ("apiVersion", "kind"):
            continue
        if name not in TYPES:
            where = f"failed to load Kubelet config file {path}, error failed to decode"
            return f'{failed}{where}: strict decoding error: unknown field "{name}"'
        wrong = _other_type(TYPES[name], value)
        if wrong:
            named = f"Go struct field KubeletConfiguration.{name} of type {TYPES[name]}"
            return f"failed to merge kubelet configs: json: cannot unmarshal {wrong} into {named}"
    return ""


def _other_type(kind: str, value: Any) -> str:  # noqa: ANN401 - any JSON value
    found = {bool: "bool", str: "string", int: "number", float: "number", list: "array", dict: "object"}
    have = "null" if value is None else found[type(value)]
    want = {"bool": "bool", "string": "string", "v1.Duration": "string"}.get(kind)
    if kind.startswith(("int", "float")):
        want = "number"
    elif kind.startswith("[]"):
        want = "array"
    elif kind.startswith("map["):
        want = "object"
    return have if want is not None and have not in (want, "null") else ""
