"""Steps from a server's first answer to an API that is ready: before `k3d cluster create` returns."""

from __future__ import annotations

import io
import tarfile

from tasks.clients import docker
from tasks.core.errors import LaunchError
from tasks.engine.step import Action, Context, Report
from tasks.facts.cluster import no_such_file
from tasks.facts.facts import Facts
from tasks.process.command import CommandFailed

_KUBECONFIG = "/output/kubeconfig.yaml"
"""Written by k3s before its API answers (k3d sets K3S_KUBECONFIG_OUTPUT; measured)."""


def address(facts: Facts) -> tuple[str, int]:
    """Host and port at which the API answers first."""
    ports = facts.outputs.ports or facts.ports
    assert ports is not None
    return "127.0.0.1", ports.first_api


def first_answer(facts: Facts) -> Action:
    """Wait until the server's port speaks TLS: then its kubeconfig is written."""

    def act(context: Context) -> Report | None:
        from tasks.kube.wait import poll

        poll(lambda: facts.reach.server_answers(*address(facts)) or None, context, pause=0.05, cap=0.1)
        return None

    return act


def read_kubeconfig(facts: Facts) -> Action:
    """Copy the admin kubeconfig out of the server container: no process in it is needed."""

    def act(context: Context) -> Report | None:
        fetch_kubeconfig(facts, context)
        return None

    return act


def fetch_kubeconfig(facts: Facts, context: Context | None, port: int | None = None) -> None:
    """Write the private kubeconfig (mode 0600) of the cluster that runs. Transient while k3s has not written it."""
    from tasks.clients.kubeconfig import private, write_private

    container = f"k3d-{facts.name}-server-0"
    text = _copied(facts, container, context)
    host, first = address(facts) if port is None else ("127.0.0.1", port)
    if "clusters:" not in text:
        raise LaunchError(
            f"{container} has not written its kubeconfig yet",
            why=f"{_KUBECONFIG} in it is not there, or not whole",
            fix="it is asked again; if it stays so, look at: docker logs " + container,
            transient=True,
        )
    write_private(facts.paths.kubeconfig, private(text, facts.name, f"https://{host}:{first}"))
    facts.forget_api()


def _copied(facts: Facts, container: str, context: Context | None) -> str:
    """The file's text; empty if it, or its container, is not there."""
    try:
        done = facts.programs.run(docker.copy_out(container, _KUBECONFIG), context, quiet=True)
    except CommandFailed as error:
        if no_such_file(error.done.err):
            return ""
        raise
    with tarfile.open(fileobj=io.BytesIO(done.raw)) as archive:
        member = archive.extractfile(archive.getmembers()[0])
        return member.read().decode() if member is not None else ""


def api_ready(facts: Facts) -> Action:
    """Wait until /readyz is 200 with the admin certificate; a refusal of it ends the wait within seconds."""

    def act(context: Context) -> Report | None:
        from tasks.kube.wait import api_ready

        api_ready(facts.api, context, pause=0.05, cap=0.1)
        return None

    return act
