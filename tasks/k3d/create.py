"""The creation of a cluster until its API is ready, with other ports if one is taken; and fixes for k3d's output."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.clients import docker, k3d, kubectl
from tasks.core import yaml
from tasks.core.errors import LaunchError
from tasks.core.files import write_whole
from tasks.core.units import memory_bytes
from tasks.diagnose.command import run_command
from tasks.engine.step import Action, Context, Report
from tasks.facts.cluster import ContainerState, container_state
from tasks.facts.facts import Facts, Ports
from tasks.facts.mounts import EDAC
from tasks.facts.mounts import meminfo as contents
from tasks.k3d.config import Files, k3d_config, kubelet_config, render
from tasks.k3d.kubeconfig import address, remember_engine
from tasks.k3d.registries_yaml import nodes_file
from tasks.k3d.registry_container import hold_registries
from tasks.k3d.removal import own_containers
from tasks.kube.wait import api_ready, poll
from tasks.process.command import CommandFailed, DeadlinePassed
from tasks.settings.derived import push_container

NextPorts = Callable[[Ports, int | None], Ports]
"""Chooses again after a conflict that no check could foresee, given the port that the engine reported."""
_HEAD = re.compile(r"^(?:\x1b\[\d+m)?[A-Z]{4,5}(?:\x1b\[0m)?\[[^\]]*\] ")
"""The coloured level, and seconds or a time (k3d: logrus, which uses colours even without a terminal)."""
_BROKEN_OFF, _ENDED = "stopped returning log lines", "running=false"
"""k3d's messages about the end of a node's log, and of a node (k3d: `pkg/runtimes/docker/node.go`)."""
_REFUSED = frozenset({"port-taken", "port-privileged"})


NAMESPACE, NAME = "kube-public", "local-registry-hosting"
_HOSTING = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{NAME}"
_HOSTED = "localRegistryHosting.v1"
_HOSTING_OBJECT = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": NAMESPACE}}


class PortTaken(LaunchError):
    """The engine cannot publish a port; another one is tried, once."""

    def __init__(self, error: CommandFailed) -> None:
        super().__init__(error.what, why=error.why, fix=error.fix, exit_code=error.done.code, transient=True)


def write_config(facts: Facts, ports: Ports) -> None:
    """Write the k3d configuration, and the files that it refers to."""
    settings, shape, folders = facts.settings, facts.shape, facts.paths
    for name in ("", "config", "tmp"):  # mkdir sets the mode of the last folder only
        (folders.state / name).mkdir(mode=0o700, exist_ok=True, parents=True)
    remember_engine(facts)
    registries, drop_in = None, None
    if shape.registries_yaml:
        registries = folders.state / "registries.yaml"
        port = facts.outputs.registry_ports.get(push_container(settings))
        write_whole(registries, shape.registries_yaml if port is None else nodes_file(settings, facts.root, port))
    kubelet = kubelet_config(settings, shape)
    if kubelet is not None and settings.cluster.servers > 1:
        drop_in = folders.state / "kubelet.conf"
        write_whole(drop_in, json.dumps(kubelet) + "\n", mode=0o644)  # read by the nodes; not private
    authorities = folders.state / "ca.pem" if shape.network.authorities and settings.cluster.servers > 1 else None
    if authorities is not None:
        write_whole(authorities, shape.network.authorities, mode=0o644)  # public, as certificates are
    files = Files(
        authorities=str(authorities) if authorities else None,
        seen=facts.host is None or facts.host.files,
        registries=str(registries) if registries else None,
        drop_in=str(drop_in) if drop_in else None,
        **_memory_files(facts),
    )
    config = k3d_config(settings, shape, ports, files)
    if facts.restore is not None:
        from tasks.k3d.restore import amend

        amend(config, facts.name, facts.restore)
    write_whole(folders.k3d_config, render(config))


def _memory_files(facts: Facts) -> dict[str, Any]:
    """Files that show a node its memory; only if the engine sees this machine's files at the same paths."""
    limits, folder = facts.settings.cluster.limits, facts.paths.state
    if not limits.enabled or facts.host is None or not facts.host.here:
        return {}
    meminfo = {}
    for role, text in (("server", limits.server_memory), ("agent", limits.agent_memory)):
        path = folder / f"meminfo-{role}"
        write_whole(path, contents(memory_bytes(text)), mode=0o644)
        meminfo[role] = str(path)
    if not Path(EDAC).is_dir():
        return {"meminfo": meminfo}
    empty = folder / "edac"
    empty.mkdir(exist_ok=True)
    return {"meminfo": meminfo, "edac": str(empty)}


def creation(facts: Facts, next_ports: NextPorts) -> Action:
    """Create the cluster. If a port is taken, retry with others; but never after work has gone into the cluster."""
    refused: list[int | None] = []

    def act(context: Context) -> Report | None:
        hand = facts.outputs
        ports = hand.ports or facts.ports
        assert ports is not None
        if context.attempt > 1:
            clear(facts, context)
            ports = next_ports(ports, refused[-1] if refused else None)
        hand.ports = ports
        hold_registries(facts, context)
        facts.paths.kubeconfig.unlink(missing_ok=True)  # of an earlier cluster
        facts.forget_api()
        write_config(facts, ports)
        timeout = facts.settings.cluster.timeout
        try:
            command = k3d.create(facts.paths.k3d_config, timeout + 20)
            run_command(facts.k3d_programs, command, context, listen=_progress(context))
        except CommandFailed as error:
            _raise_of_dead_node(facts, error, context)
            if facts.paths.kubeconfig.exists():  # the API has answered, and the cluster may be in use
                error.amend(transient=False)
                raise
            if isinstance(error, DeadlinePassed) or error.cause not in _REFUSED:
                raise
            port = error.diagnosis.details.get("port", "")
            refused.append(int(port) if port.isdigit() else None)
            raise PortTaken(error) from error
        moved = [
            f"port {wish} was taken: {got} is used"
            for wish, got in (
                (facts.settings.cluster.ports.http, ports.http),
                (facts.settings.cluster.ports.https, ports.https),
                (facts.settings.cluster.ports.api, ports.api),
            )
            if wish != got and got is not None
        ]
        return Report(why="; ".join(moved), exit_code=0)

    return act


def _raise_of_dead_node(facts: Facts, error: CommandFailed, context: Context) -> None:
    """k3d reports a timeout also for a node that has exited: then raise that node's error with its cause."""
    node = error.diagnosis.details.get("node", "")
    if error.cause != "node-timeout" or not node.startswith(f"k3d-{facts.name}-"):
        return
    from tasks.diagnose.node import node_death
    from tasks.k3d.node_watch import engine_gone

    output = f"{error.done.out}{error.done.err}"
    if _BROKEN_OFF in output and _ENDED not in output:
        raise engine_gone() from error
    found = docker.inspected(facts.programs.run(docker.inspect([node]), context).out)
    if not found or container_state(found[0]) in (ContainerState.RUNNING, ContainerState.PAUSED):
        return
    logs = facts.programs.run(docker.logs(node), context, quiet=True)
    death = node_death(node, int(found[0]["State"].get("ExitCode") or 0), False, logs.out + logs.err)
    raise death.amend(transient=False) from error


def _progress(context: Context) -> Callable[[str], None]:
    """k3d's own lines, without colour and time."""

    def listen(line: str) -> None:
        context.say(_HEAD.sub("", line).strip())

    return listen


def clear(facts: Facts, context: Context) -> None:
    """Remove the nodes of a cluster that could not be started, by exact label."""
    hand = facts.outputs
    hand.removing = True
    try:
        ids = own_containers(facts.programs, facts.name, facts.shape.owner, context)
        if ids:
            facts.programs.run(docker.remove(ids), context)
    finally:
        hand.removing = False


def first_answer(facts: Facts, context: Context) -> None:
    """Wait until the server's port speaks TLS: from then on its kubeconfig exists."""
    poll(lambda: facts.backend.server_answers(*address(facts)) or None, context, pause=0.05, cap=0.1)


def wait_api_ready(facts: Facts, context: Context) -> None:
    """Wait until /readyz is 200 with the admin certificate; rejected credentials end the wait within seconds."""
    api_ready(facts.api, context, pause=0.05, cap=0.1)


def names_a_cache(facts: Facts) -> bool:
    """Whether k3d will advertise a pull-through cache: it uses the first of `registries.use`, whatever that is.

    Source: k3d, `RegistryGenerateLocalRegistryHostingConfigMapYAML`; only when it creates a cluster.
    """
    return bool(facts.shape.registries) and not facts.settings.registries.push


def withdraw(facts: Facts, context: Context) -> Report | None:
    """Remove the ConfigMap if it advertises a cache, which accepts no pushes; the user's own one stays.

    A failure is only a note: images can be pulled anyway.
    """
    try:
        code, text = facts.api().raw(_HOSTING)
        if code == 404 or (code == 200 and _host(text) not in facts.shape.registries):
            return Report(why="no cache is advertised", skipped=True)
        run_command(facts.programs, kubectl.delete(facts.paths.kubeconfig, json.dumps(_HOSTING_OBJECT) + "\n"), context)
    except LaunchError as error:
        by_hand = f"kubectl --namespace {NAMESPACE} delete configmap {NAME}"
        return Report(notes=(f"tools may try to push to a cache ({error.what}): {by_hand}",))
    return None


def _host(text: str) -> str:
    """The registry as nodes reach it; empty if it is missing or cannot be parsed."""
    try:
        hosting: Any = yaml.load(json.loads(text)["data"][_HOSTED])
        return str(hosting["hostFromContainerRuntime"])
    except (ValueError, KeyError, TypeError):
        return ""
