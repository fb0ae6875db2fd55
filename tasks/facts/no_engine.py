"""What to do where no Docker engine can be used: one screen for each case, with the commands for this system.

Each names the way to go on without one: a rehearsal.
"""

from __future__ import annotations

from collections.abc import Sequence

from tasks.core.errors import NoEngine
from tasks.facts.endpoint import Endpoint

_CHECK = "`docker info` shows whether it worked"
_WITHOUT = "to see a launch without an engine: `make rehearse` (nothing real is made)"
_STARTS = {
    "colima": "`colima start`",
    "orbstack": "`orb start`",
    "rancher-desktop": "start Rancher Desktop",
    "desktop-linux": "start Docker Desktop: `systemctl --user start docker-desktop`",
    "rootless": "`systemctl --user start docker`",
}
"""How the engine behind a context of that name is started."""


class EngineStopped(NoEngine):
    """The engine is there, as far as that shows, but does not run."""


def missing(system: str, *, podman: bool) -> NoEngine:
    """There is no docker program."""
    fix = {
        "linux": (
            "install Docker Engine as your distribution has it (https://docs.docker.com/engine/install/):",
            "  Debian, Ubuntu: `sudo apt-get install docker.io`; Fedora: `sudo dnf install moby-engine`",
            'then `sudo systemctl enable --now docker` and `sudo usermod -aG docker "$USER"`, and log in again',
        ),
        "darwin": (
            "Colima: `brew install colima docker`, then `colima start --cpu 4 --memory 8`;",
            "or Docker Desktop: https://docs.docker.com/desktop/setup/install/mac-install/",
        ),
        "wsl": (
            "Docker Desktop on Windows: Settings, Resources, WSL integration: switch it on for this distribution;",
            "or Docker Engine inside WSL2, as on Linux: https://docs.docker.com/engine/install/",
        ),
    }[system]
    why = "k3d makes its nodes as Docker containers"
    if podman:
        why += "; Podman is there, but it is not supported"
    return _refusal("Docker is missing: there is no program 'docker' on the PATH", why, fix)


def stopped(system: str, point: Endpoint, said: str) -> NoEngine:
    """Nothing listens at the engine's address."""
    fix: Sequence[str]
    if point.context in _STARTS and not (system == "darwin" and point.context == "desktop-linux"):
        fix = (_STARTS[point.context],)
    elif point.source == "DOCKER_HOST":
        fix = (
            f"start the engine at {point.host};",
            "or use this machine's own: `unset DOCKER_HOST`",
        )
    else:
        fix = {
            "linux": (
                "`sudo systemctl start docker` (and `sudo systemctl enable docker` for every boot);",
                "without systemd: `sudo service docker start`; rootless: `systemctl --user start docker`",
                "if it does not stay: `journalctl --unit docker --lines 50`",
            ),
            "darwin": ("Docker Desktop: `open -a Docker`; Colima: `colima start`; OrbStack: `orb start`",),
            "wsl": (
                "start Docker Desktop on Windows (Settings, Resources, WSL integration: on for this distribution);",
                "or, where Docker is installed inside WSL2: `sudo service docker start`",
            ),
        }[system]
    return _refusal("the Docker engine does not run", _reported(said, point), fix, EngineStopped)


def denied(point: Endpoint, said: str) -> NoEngine:
    """The socket is there, but not for this user."""
    return _refusal(
        "you may not use the Docker engine",
        _reported(said, point),
        (
            '`sudo usermod -aG docker "$USER"`, then log out and in again (in this shell at once: `newgrp docker`);',
            "who is in that group can do all that root can: if that is not wanted, a rootless engine is yours alone",
            "(https://docs.docker.com/engine/security/rootless/)",
        ),
    )


def remote(point: Endpoint) -> NoEngine:
    """The engine is on another machine."""
    here = "`unset DOCKER_HOST`" if point.source == "DOCKER_HOST" else "`docker context use default`"
    if point.source == "DOCKER_CONTEXT":
        here = "`unset DOCKER_CONTEXT`"
    shell = f"`ssh {point.host.removeprefix('ssh://')}`" if point.host.startswith("ssh://") else "a shell there"
    return _refusal(
        f"the Docker engine is on another machine: {point.host}",
        f"{point.source} says so; ports would be published on that machine's loopback, where nothing here reaches them",
        (
            f"use this machine's engine: {here};",
            f"or run this project on that machine ({shell});",
            "or, for a cluster that exists there: `invoke up --engine existing --context NAME`",
        ),
    )


def outside(point: Endpoint) -> NoEngine:
    """A container with the socket of an engine that is outside of it, and with a network of its own."""
    return _refusal(
        "this is a container, and its Docker engine is outside of it",
        f"{point.host or point.context} is a mounted socket: clusters are published on the loopback of the engine's "
        "machine, where nothing in this container reaches them",
        (
            "give this container that machine's network: `docker run --network host …`; in a dev container",
            '`"runArgs": ["--network=host"]`; in GitLab\'s runner `network_mode = "host"`; on GitHub',
            "`container: {options: --network host}`;",
            "or run this project outside of the container, or with an engine of its own in it",
        ),
        check="`invoke doctor` shows whether it worked",
    )


def podman(point: Endpoint) -> NoEngine:
    """What answers is Podman."""
    where = f" at {point.host}" if point.host and not point.default else ""
    away = {"DOCKER_HOST": "`unset DOCKER_HOST`", "DOCKER_CONTEXT": "`unset DOCKER_CONTEXT`"}.get(point.source)
    return _refusal(
        f"what answers to 'docker'{where} is Podman",
        "Podman is not supported: registries, networks and restarts of nodes behave differently there",
        (
            "install Docker Engine beside it: https://docs.docker.com/engine/install/"
            + (f"; and lead docker back to it: {away}" if away else ""),
            "where the package podman-docker stands in for docker, remove that first",
        ),
    )


def windows_containers() -> NoEngine:
    """The engine runs Windows containers."""
    return _refusal(
        "this Docker engine runs Windows containers",
        "k3s nodes are Linux containers",
        ("Docker Desktop: in the menu of its tray icon choose 'Switch to Linux containers'",),
    )


def silent(point: Endpoint, seconds: float) -> NoEngine:
    """It accepts the query and never answers."""
    return _refusal(
        "the Docker engine does not answer",
        f"`docker info` ({point.host or point.context}) had not ended after {seconds:g} s",
        ("restart it: `sudo systemctl restart docker`, or Docker Desktop, or `colima restart`",),
    )


def failed(point: Endpoint, said: str) -> NoEngine:
    """Anything else that docker says."""
    contexts = "`docker context ls` shows the contexts, `docker context use default` goes back to this machine's own"
    return _refusal(
        "the Docker engine cannot be used",
        _reported(said, point) or "`docker info` reported nothing",
        (contexts,) if point.source else ("run `docker info` and see what it says",),
    )


def _reported(said: str, point: Endpoint) -> str:
    """Docker's own words, and who sent it there."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    words = lines[-1] if lines else ""
    return f"{words} ({point.source} leads there)" if point.source else words


def _refusal(
    what: str, why: str, fix: Sequence[str], kind: type[NoEngine] = NoEngine, *, check: str = _CHECK
) -> NoEngine:
    return kind(what, why=why, fix="\n".join((*fix, check, _WITHOUT)))
