"""All tasks as invoke's collection."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, TypeVar

from invoke.collection import Collection
from invoke.tasks import Task

from tasks.run.task import ROOT

_Made = TypeVar("_Made")
TASKS = (
    "up",
    "down",
    "plan",
    "status",
    "doctor",
    "prepull",
    "registry",
    "build",
    "cluster",
    "namespaces",
    "secrets",
    "manifests",
    "helm",
    "steps",
    "health",
    "docker-tune",
    "rehearse",
    "report",
    "logs",
    "bundle",
    "snapshot",
    "bench",
    "config",
)
"""By name; the file has the same name, with `_` for `-`."""
_WHOLE = frozenset({"-l", "--list", "--complete"})
"""Options of invoke that show all tasks."""
_PRINTS = frozenset({"-l", "--list", "-h", "--help"})
"""Options with which invoke only prints, after it has read this collection."""


def collection(arguments: Sequence[str] = ()) -> Collection:
    """The tasks on a command line: a call imports no file of a task that it does not run.

    All tasks if the command line names none, or asks for a list or a completion. An option's value that equals a task's
    name adds that task, which is harmless.
    """
    _streams()
    if "--complete" in arguments:
        _complete(arguments)
    check_settings_file()
    made = Collection()
    named = [name for name in TASKS if name in arguments and _WHOLE.isdisjoint(arguments)]
    for name in named or TASKS:
        made.add_task(_load(name))
    for own in _own():
        made.add_task(own)
    made.configure({"run": {"echo": False}})
    return made


def _streams() -> None:
    """Replace streams that the caller has closed, for which Python has None."""
    import os
    import sys

    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123 - as long as the process


def end_with_the_reader(arguments: Sequence[str]) -> None:
    """End quietly where the output of a list is not read to its end (`| head`): invoke would show a traceback.

    Only for a process that does nothing else: with the default action a connection that its server closed ends it.
    """
    import signal

    if not arguments or not _PRINTS.isdisjoint(arguments):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def _named(name: str) -> Task[Any] | None:
    """The task of that name, including the user's own."""
    return _load(name) if name in TASKS else next((each for each in _own() if each.name == name), None)


def _load(name: str) -> Task[Any]:
    module = name.replace("-", "_")
    made: Task[Any] = getattr(import_module(f"tasks.{module}"), module)
    return made


def _own() -> list[Task[Any]]:
    """The user's own tasks; exits with a message if the module is broken, or uses a name of this project."""
    if not any((ROOT / name).exists() for name in ("own_tasks.py", "own_tasks")):
        return []
    from tasks.core.errors import BadInput
    from tasks.run.own_tasks import tasks

    def found() -> list[Task[Any]]:
        made = tasks(ROOT)
        for each in made:
            if each.name in TASKS:
                why = "a task of this project has that name"
                raise BadInput(f"own_tasks has a task '{each.name}'", why=why, fix="rename it")
        return made

    return _or_end(found)


def _complete(arguments: Sequence[str]) -> None:
    """Exit with completions, unless invoke has to make them."""
    import os
    import sys

    from tasks.run.completion import completions

    words = arguments[arguments.index("--complete") + 1 :]
    words = words[1:] if words[:1] == ["--"] else words
    found = completions(words, _named, ROOT, os.environ)
    if found is not None:
        sys.stdout.write("".join(f"{each}\n" for each in found))
        raise SystemExit(0)


def _or_end(act: Callable[[], _Made]) -> _Made:
    """Exit with the message of an expected error: invoke would show a traceback."""
    import sys

    from tasks.core.errors import LaunchError
    from tasks.core.redact import redact

    try:
        return act()
    except LaunchError as error:
        if "--complete" not in sys.argv:  # what a shell would print into the line that is being typed
            sys.stderr.write(f"{redact(str(error))}\n")
        raise SystemExit(error.status) from None


def check_settings_file() -> None:
    """Exit with a message for a broken invoke.yaml: invoke reads it next, and would show a traceback."""
    if not (ROOT / "invoke.yaml").exists():
        return
    import os

    from tasks.settings.files import check_invoke_yaml

    _or_end(lambda: check_invoke_yaml(ROOT, os.environ))
