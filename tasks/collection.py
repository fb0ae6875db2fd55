"""All tasks as invoke's namespace."""

from __future__ import annotations

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
"""By name; the file of each is called as it is, with `_` for `-`."""
_WHOLE = frozenset({"-l", "--list", "--complete"})
"""Options of invoke that show all tasks."""


def collection(arguments: Sequence[str] = ()) -> Collection:
    """The tasks that a command line names: a call imports no file of a task that it does not run.

    All where it names none, and where it asks for a list or a completion. An option's value that is a task's name adds
    that task, which does no harm.
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
    """Output goes nowhere where the caller has closed it: Python has no stream there then."""
    import os
    import sys

    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123 - as long as the process


def _named(name: str) -> Task[Any] | None:
    """The task of that name, the user's own among them."""
    return _load(name) if name in TASKS else next((each for each in _own() if each.name == name), None)


def _load(name: str) -> Task[Any]:
    module = name.replace("-", "_")
    made: Task[Any] = getattr(import_module(f"tasks.{module}"), module)
    return made


def _own() -> list[Task[Any]]:
    """The user's own tasks; ends the process with a message for a module that is broken, or for a name that is ours."""
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
    """End the process with completions, unless they are invoke's own to make."""
    import os
    import sys

    from tasks.run.complete import answer

    words = arguments[arguments.index("--complete") + 1 :]
    words = words[1:] if words[:1] == ["--"] else words
    found = answer(words, _named, ROOT, os.environ)
    if found is not None:
        sys.stdout.write("".join(f"{each}\n" for each in found))
        raise SystemExit(0)


def _or_end(act: Callable[[], _Made]) -> _Made:
    """End the process with the message of an expected error: invoke would show a traceback."""
    import sys

    from tasks.core.errors import LaunchError
    from tasks.core.redact import redact

    try:
        return act()
    except LaunchError as error:
        sys.stderr.write(f"{redact(str(error))}\n")
        raise SystemExit(error.status) from None


def check_settings_file() -> None:
    """End the process with a message for a broken invoke.yaml: invoke reads it next, and would show a traceback."""
    if not (ROOT / "invoke.yaml").exists():
        return
    import os

    from tasks.settings.files import check_invoke_yaml

    _or_end(lambda: check_invoke_yaml(ROOT, os.environ))
