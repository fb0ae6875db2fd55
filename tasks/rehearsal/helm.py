"""The stand-in for helm: version 4, or what versions.json says."""

from __future__ import annotations

from tasks.rehearsal import flags
from tasks.rehearsal.call import Exit
from tasks.rehearsal.helm_flags import COMMANDS, known
from tasks.rehearsal.reaching import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.rehearsal.call import Call
    from tasks.rehearsal.flags import Given

_MODULES = dict.fromkeys(("repo", "pull", "template", "package", "dependency"), "helm_charts")
"""By the first word of a command; all others are about releases."""
_EXACTLY = {"repo add": 2, "pull": 1, "template": 2, "upgrade": 2, "install": 2, "status": 1, "history": 1}
_AT_LEAST = {"uninstall": 1, "rollback": 1, "package": 1}


def _counted(name: str, count: int) -> None:
    """Helm's words for too few or too many arguments. Raises `Exit`."""
    exactly, least = _EXACTLY.get(name), _AT_LEAST.get(name, 0)
    if (exactly is None or count == exactly) and count >= least:
        return
    wanted, word = (exactly, "") if exactly is not None else (least, "at least ")
    several = "" if wanted == 1 else "s"
    raise Exit(1, f'Error: "helm {name}" requires {word}{wanted} argument{several}\n\nUsage:  helm {name} [flags]')


def helm(call: Call) -> None:
    """Raises `Exit`."""
    args = list(call.args)
    version = call.place.version("helm")
    if args[:1] == ["version"]:
        call.say(f"{version}+gREHEARSAL")
        return
    name = next((each for each in COMMANDS if args[: len(each.split())] == each.split()), "")
    if not name:
        raise Exit(1, f'Error: unknown command "{args[0] if args else ""}" for "helm"\nRun \'helm --help\' for usage.')
    try:
        given = flags.read(args[len(name.split()) :], flags.table(known(name, int(version[1]))))
    except flags.Wrong as wrong:
        raise Exit(1, f"Error: {wrong}") from None
    _counted(name, len(given.args))
    try:
        _act(name)(call, given)
    except Refused as refused:
        raise Exit(1, f"Error: {refused.message}") from None


def _act(name: str) -> Callable[[Call, Given], None]:
    from importlib import import_module

    module = import_module(f"tasks.rehearsal.{_MODULES.get(name.split(maxsplit=1)[0], 'helm_releases')}")
    found: Callable[[Call, Given], None] = module.COMMANDS[name]
    return found
