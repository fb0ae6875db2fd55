"""The stand-in for docker: which command it is, and what docker says of one that it does not know."""

from __future__ import annotations

from importlib import import_module

from tasks.rehearsal import flags
from tasks.rehearsal.call import Exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.rehearsal.call import Call
    from tasks.rehearsal.flags import Given

_ROOMS = {
    "docker_engine": ("info", "version"),
    "docker_show": ("ps", "container ls", "container inspect", "inspect"),
    "docker_run": ("run", "create", "start", "stop", "kill", "restart", "rm", "update", "wait"),
    "docker_images": ("pull", "tag", "rmi", "images", "image inspect"),
    "docker_copy": ("cp", "exec"),
    "docker_watch": ("events", "logs"),
    "docker_networks": (
        "network inspect",
        "network connect",
        "network disconnect",
        "network rm",
        "network ls",
        "network create",
        "volume create",
        "volume ls",
        "volume rm",
        "volume inspect",
    ),
}
"""Modules, and the commands that are in each."""
_SAME = {
    "container ps": "ps",
    "container list": "ps",
    "container ls": "ps",
    "image pull": "pull",
    "image tag": "tag",
    "image rm": "rmi",
    "image ls": "images",
    "system info": "info",
    "system events": "events",
    "network remove": "network rm",
    "network list": "network ls",
    "volume remove": "volume rm",
    "volume list": "volume ls",
}
_SAME |= {f"container {name}": name for name in (*_ROOMS["docker_run"], "cp", "exec", "logs")}
_GROUPS = ("container", "image", "network", "volume", "system")


class Command:
    """One command: how it is used, its flags, how many arguments it takes, and what it does."""

    def __init__(
        self,
        usage: str,
        known: str,
        act: Callable[[Call, Given], None],
        *,
        least: int = 0,
        most: int | None = None,
        mixed: bool = True,
    ) -> None:
        self.usage, self.known, self.act = usage, known, act
        self.least, self.most, self.mixed = least, most, mixed


def docker(call: Call) -> None:
    """Raises `Exit`."""
    args = list(call.args)
    try:
        head = flags.read(
            args, flags.table("context,c=s host,H=s debug,D log-level,l=s version,v config=s"), mixed=False
        )
    except flags.Wrong as wrong:
        raise Exit(125, f"{wrong}\n\nUsage:  docker [OPTIONS] COMMAND [ARG...]\n\n{_help('docker')}") from None
    if head.on("version"):
        from tasks.rehearsal.place import VERSIONS

        call.say(f"Docker version {VERSIONS['docker']}, build REHEARSAL")
        return
    name, rest = _named(head.args)
    command = _command(name)
    try:
        given = flags.read(rest, flags.table(command.known), mixed=command.mixed)
    except flags.Wrong as wrong:
        if "help requested" in str(wrong):
            call.say(f"Usage:  docker {command.usage}")
            return
        raise Exit(125, f"{wrong}\n\nUsage:  docker {command.usage}\n\n{_help(f'docker {name}')}") from None
    _counted(name, command, len(given.args))
    if name not in ("events", "logs", "pull", "run"):
        call.wait("docker")
    command.act(call, given)


def _named(words: list[str]) -> tuple[str, list[str]]:
    """The command's name and the rest. Raises `Exit` for one that is not there."""
    if not words:
        raise Exit(0, "Usage:  docker [OPTIONS] COMMAND [ARG...]")
    known = {name for names in _ROOMS.values() for name in names} | set(_SAME)
    two = " ".join(words[:2])
    if two in known:
        return _SAME.get(two, two), words[2:]
    if words[0] in known:
        return _SAME.get(words[0], words[0]), words[1:]
    if words[0] in _GROUPS:
        group = words[0]
        if len(words) == 1:
            raise Exit(0, f"Usage:  docker {group} COMMAND")
        raise Exit(1, f"docker: unknown command: docker {two}\n\nUsage:  docker {group}\n\n{_help(f'docker {group}')}")
    raise Exit(1, f"docker: unknown command: docker {words[0]}\n\n{_help('docker')}")


def _command(name: str) -> Command:
    room = next(room for room, names in _ROOMS.items() if name in names)
    found: Command = import_module(f"tasks.rehearsal.{room}").COMMANDS[name]
    return found


def _counted(name: str, command: Command, count: int) -> None:
    """Docker's words for too few or too many arguments."""
    least, most = command.least, command.most
    if least <= count and (most is None or count <= most):
        return
    several = "s" if max(least, most or 0) != 1 else ""
    if most == 0:
        said = "accepts no arguments"
    elif most == least:
        said = f"requires {least} argument{several}"
    elif count < least:
        said = f"requires at least {least} argument{'' if least == 1 else 's'}"
    else:
        said = f"requires at most {most} argument{several}"
    see = "See" if said.startswith("requires at least") else "Run"
    text = f"docker: 'docker {name}' {said}\n\nUsage:  docker {command.usage}\n\n{see} 'docker {name} --help'"
    raise Exit(1, f"{text} for more information")


def _help(command: str) -> str:
    return f"Run '{command} --help' for more information"


def daemon(text: str, code: int = 1) -> Exit:
    """An error that the engine tells."""
    return Exit(code, f"Error response from daemon: {text}")
