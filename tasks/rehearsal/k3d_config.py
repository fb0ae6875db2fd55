"""What `k3d cluster create` is told, by a config file (v1alpha5) or by flags: one form, checked as k3d checks it."""

from __future__ import annotations

import re
from pathlib import Path

from tasks.rehearsal.k3d_words import fatal
from tasks.settings import node_filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from tasks.rehearsal.call import Call
    from tasks.rehearsal.flags import Given

    Config = dict[str, Any]

_FIELDS: Mapping[str, frozenset[str]] = {
    "(root)": frozenset(
        [
            "apiVersion",
            "kind",
            "metadata",
            "servers",
            "agents",
            "kubeAPI",
            "image",
            "network",
            "subnet",
            "token",
            "clusterToken",
            "volumes",
            "ports",
            "options",
            "env",
            "registries",
            "hostAliases",
            "files",
        ]
    ),
    "metadata": frozenset({"name"}),
    "kubeAPI": frozenset({"host", "hostIP", "hostPort"}),
    "options": frozenset({"k3d", "k3s", "kubeconfig", "runtime"}),
    "options.k3d": frozenset(
        ["wait", "timeout", "disableLoadbalancer", "disableImageVolume", "disableRollback", "loadbalancer"]
    ),
    "options.k3s": frozenset({"extraArgs", "nodeLabels"}),
    "options.kubeconfig": frozenset({"updateDefaultKubeconfig", "switchCurrentContext"}),
    "options.runtime": frozenset(["gpuRequest", "serversMemory", "agentsMemory", "hostPidMode", "labels", "ulimits"]),
    "registries": frozenset({"use", "create", "config"}),
}
"""Fields of k3d's own schema (k3d: `pkg/config/v1alpha5/schema.json`)."""
_ROWS = {
    "volumes": "volume",
    "ports": "port",
    "env": "envVar",
    "options.k3s.extraArgs": "arg",
    "options.k3s.nodeLabels": "label",
    "options.runtime.labels": "label",
}
_VARIABLE = re.compile(r"\$(?:\{([^}]*)\}|(\w+))")
_FILTER = re.compile(
    r"(?P<group>server|servers|agent|agents|loadbalancer|all)(?::(?P<subset>[^:]+))?(?::(?P<suffix>[a-z]+))?"
)


def from_file(path: str, environ: Mapping[str, str]) -> Config:
    """A config file, in which variables are expanded as k3d does it. Raises `Exit`."""
    from tasks.core import yaml

    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise fatal(f"Failed to stat config file {path}: stat {path}: no such file or directory") from None
    text = _VARIABLE.sub(lambda match: environ.get(match[1] or match[2], ""), text)
    try:
        found = yaml.load(text)
    except yaml.YamlError as error:
        raise fatal(f"Failed to read config file {path}: While parsing config: yaml: {error}") from None
    if not isinstance(found, dict):
        raise fatal(f"Failed to read config file {path}: While parsing config: it is no mapping")
    wrong = [f"- {where}: {text}" for where, text in _unknown(found)]
    if wrong:
        raise fatal(f"Schema Validation failed for config file {path}: " + "\n".join(wrong))
    return found


def _unknown(config: Config) -> list[tuple[str, str]]:
    wrong = []
    for where, known in _FIELDS.items():
        part = config if where == "(root)" else at(config, where)
        if not isinstance(part, dict):
            if part is not None:
                wrong.append((where, f"Invalid type. Expected: object, given: {_type(part)}"))
            continue
        wrong += [(where, f"Additional property {name} is not allowed") for name in part if name not in known]
    wrong += [
        (name, f"Invalid type. Expected: integer, given: {_type(config[name])}")
        for name in ("servers", "agents")
        if name in config and not isinstance(config[name], int)
    ]
    if str(config.get("apiVersion")) != "k3d.io/v1alpha5":
        wrong.append(("apiVersion", 'apiVersion must be one of the following: "k3d.io/v1alpha5"'))
    return wrong


def _type(value: object) -> str:
    kinds = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object"}
    return kinds.get(type(value), "null")


def from_flags(call: Call, given: Given) -> Config:
    """What flags say, as the same document."""
    name = given.args[0] if given.args else "k3s-default"
    runtime: dict[str, Any] = {"labels": _filtered(given.all("runtime-label"), "label")}
    runtime |= {
        field: given.get(flag)
        for flag, field in (("servers-memory", "serversMemory"), ("agents-memory", "agentsMemory"))
        if given.get(flag)
    }
    api = given.get("api-port")
    return {
        "metadata": {"name": name},
        "servers": int(given.get("servers") or 1),
        "agents": int(given.get("agents") or 0),
        "image": given.get("image") or call.environ.get("K3D_IMAGE", ""),
        "kubeAPI": {"hostIP": api.rpartition(":")[0], "hostPort": api.rpartition(":")[2]} if api else {},
        "ports": _filtered(given.all("port"), "port"),
        "volumes": _filtered(given.all("volume"), "volume"),
        "env": _filtered(given.all("env"), "envVar"),
        "options": {
            "k3d": {
                "wait": given.get("wait", "true") != "false",
                "timeout": given.get("timeout"),
                "disableLoadbalancer": given.on("no-lb"),
                "disableRollback": given.on("no-rollback"),
            },
            "k3s": {
                "extraArgs": _filtered(given.all("k3s-arg"), "arg"),
                "nodeLabels": _filtered(given.all("k3s-node-label"), "label"),
            },
            "kubeconfig": {"updateDefaultKubeconfig": given.get("kubeconfig-update-default", "true") != "false"},
            "runtime": runtime,
        },
        "registries": {"use": given.all("registry-use"), "config": given.get("registry-config")},
    }


def _filtered(rows: Sequence[str], key: str) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        value, sign, filters = row.replace(r"\@", "\0").partition("@")
        found.append({key: value.replace("\0", "@"), **({"nodeFilters": filters.split(";")} if sign else {})})
    return found


def at(config: Config, path: str) -> Any:  # noqa: ANN401 - any JSON value
    """A part by its path; None if it is not there."""
    part: Any = config
    for name in path.split("."):
        part = part.get(name) if isinstance(part, dict) else None
    return part


def rows(config: Config, path: str) -> list[tuple[str, list[str]]]:
    """Values with their node filters."""
    return [(str(each[_ROWS[path]]), list(each.get("nodeFilters") or ())) for each in at(config, path) or ()]


def nodes(filters: Sequence[str], names: Sequence[str], what: str) -> list[str]:
    """Those nodes that filters mean; `names` are such as server-0, agent-1, serverlb. Raises `Exit`."""
    if not filters:
        if len([name for name in names if name != "serverlb"]) > 1:
            raise fatal(
                f"error processing cluster configuration: {what} lacks a node filter, but there's more than one node"
            )
        return [name for name in names if name != "serverlb"]
    found: list[str] = []
    for text in filters:
        match = _FILTER.fullmatch(text)
        group = match["group"].rstrip("s") if match else ""
        if match is None or (match["subset"] is None and group not in ("loadbalancer", "all")):
            raise _refused(
                what, f"Failed to parse node filters (with suffix): invalid format or empty subset in '{text}'"
            )
        if group == "all":
            found += [name for name in names if name != "serverlb"]
            continue
        if group == "loadbalancer":
            if "serverlb" not in names:
                raise _refused(what, f"Node filter '{text}' targets a node that does not exist (disabled?)")
            found.append("serverlb")
            continue
        of = [name for name in names if name != "serverlb" and name.startswith(group)]
        if not of:
            raise _refused(what, f"Node filter '{text}' targets a node that does not exist (disabled?)")
        try:
            found += [of[number] for _, number in sorted(node_filters.nodes((text,), {group: len(of)}))]
        except ValueError:
            told = (
                f"Index out of range: index '{match['subset']}' < 0 or > number of available nodes in filter '{text}'"
            )
            raise _refused(what, told) from None
    return list(dict.fromkeys(found))


def _refused(what: str, why: str) -> Exception:
    return fatal(f"error processing cluster configuration: failed to filter nodes for {what}: {why}")
