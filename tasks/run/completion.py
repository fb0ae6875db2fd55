"""Shell completion after a task's name: its options and their values on this machine.

invoke's scripts (`invoke --print-completion-script`) call `invoke --complete -- WORDS…` and filter the output by the
typed prefix. invoke itself completes names of tasks and options, but no values.
"""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.errors import LaunchError
from tasks.run.task import ENGINES

if TYPE_CHECKING:
    from invoke.tasks import Task

    from tasks.settings.resolve import Resolved

_SAFE = re.compile(r"[\w@%+=:,./-]+")
"""Names with other characters are dropped, since bash would expand them: `compgen -W` runs `$(…)`."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A command line being typed."""

    root: Path
    environ: Mapping[str, str]
    profile: str | None
    sets: tuple[str, ...]
    word: str
    """The typed prefix of the value."""

    @cached_property
    def resolved(self) -> Resolved:
        """The settings so far. Raises `BadInput`."""
        from tasks.settings.resolve import resolve

        return resolve(self.root, self.environ, self.profile, self.sets)


def completions(
    words: Sequence[str], load: Callable[[str], Task[Any] | None], root: Path, environ: Mapping[str, str]
) -> list[str] | None:
    """Completions of the last of `words`, of which the first is the program; None: invoke's own. Never raises.

    `load`: returns the task of a name. Empty for free-form values: shells offer files then.
    """
    typed, before = _joined(words)
    task, flags, rest = None, dict[str, bool](), 0
    for number, word in enumerate(typed[1:-1], start=1):
        if not flags.get(typed[number - 1]) and (found := load(word)) is not None:
            task, flags, rest = found, _flags(found), number + 1
    if task is None:
        return None
    last, previous = typed[-1], typed[-2]
    option, equals, value = last.partition("=")
    if last.startswith("-") and not equals and not flags.get(last):
        return [flag for flag in flags if flag.startswith(last)]
    if last.startswith("-"):
        lead = option + equals if equals else ""
    elif flags.get(previous):
        option, value, lead = previous, last, ""
    elif len(typed) - 1 - rest < len(named := _positional(task)) and not any(each[:1] == "-" for each in typed[rest:]):
        option, value, lead = named[len(typed) - 1 - rest], last, ""
    else:
        return None
    given = typed[:-1]
    call = Call(
        root=root,
        environ=environ,
        profile=next(iter(_given(given, "--profile")), None),
        sets=tuple(_given(given, "--set")),
        word=value,
    )
    found_values = list(_values(task, option.removeprefix("--").replace("-", "_"), call))
    if not lead and value in found_values and not value.endswith("="):
        return None  # it may be finished: the next word is another task's name
    return [(lead + each)[len(before) :] for each in found_values if (lead + each).startswith(before)]


def _joined(words: Sequence[str]) -> tuple[list[str], str]:
    """The words as typed, and the prefix of the last one that the shell completes separately.

    bash takes `=` and `:` for words of their own (COMP_WORDBREAKS).
    """
    typed, before, glued = list[str](), "", False
    for word in words:
        breaks = bool(word) and set(word) <= {"=", ":"}
        if typed and (breaks or glued):
            before = typed[-1] + word if breaks else before
            typed[-1] += word
        else:
            typed.append(word)
            before = ""
        glued = breaks
    return typed, before


def _flags(task: Task[Any]) -> dict[str, bool]:
    """The options of a task, and whether they take a value."""
    _, *options = inspect.signature(task.body).parameters.values()
    return {f"--{each.name.replace('_', '-')}": not isinstance(each.default, bool) for each in options}


def _positional(task: Task[Any]) -> list[str]:
    """The values of a task's positional arguments."""
    _, *options = inspect.signature(task.body).parameters.values()
    return [each.name for each in options if each.default is each.empty]


def _given(words: Sequence[str], option: str) -> Iterator[str]:
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == option and following:
            yield following
        elif word.startswith(f"{option}="):
            yield word.partition("=")[2]


def _values(task: Task[Any], option: str, call: Call) -> Iterator[str]:
    values = getattr(task.body, "values", {}).get(option) or _VALUES.get(option, ())
    with contextlib.suppress(LaunchError, OSError, ValueError):
        if isinstance(values, str):
            module, _, name = values.partition(":")
            values = getattr(import_module(module), name)
        yield from (each for each in (values(call) if callable(values) else values) if _SAFE.fullmatch(each))


def profiles(call: Call) -> Iterator[str]:
    """Profiles under config/, and the value for none."""
    from tasks.settings.resolve import NO_PROFILE, profile_names

    yield from (*profile_names(call.root), NO_PROFILE)


def runs(call: Call) -> Iterator[str]:
    """Recorded runs, the latest first."""
    from tasks.core.paths import default_folder
    from tasks.runs.catalogue import LATEST, run_names

    folder = Path(call.resolved.settings.log_dir)
    if not call.resolved.above_default("log_dir"):
        folder = default_folder(folder)
    yield from (LATEST, *reversed(run_names(folder)))


def builds(call: Call) -> Iterator[str]:
    """The user's own images."""
    from tasks.settings.derived import enabled_builds

    yield from (each.name for each in enabled_builds(call.resolved.settings))


def own_steps(call: Call) -> Iterator[str]:
    """The user's own steps of a launch."""
    from tasks.settings.needs import own_steps as enabled

    yield from (step.name for step in enabled(call.resolved.settings) if step.when == "up")


def snapshots(call: Call) -> Iterator[str]:
    """Snapshots of this user, by the names of their manifests: no engine is queried, and no manifest is read."""
    from tasks.clients.snapshots import Store
    from tasks.core.paths import state_folder

    yield from Store(state_folder(call.environ) / "snapshots").names()


def _contexts(call: Call) -> Iterator[str]:
    from tasks.clients.kubeconfig import contexts

    yield from contexts(call.environ)


def _paths(call: Call) -> list[str]:
    from tasks.settings.merge import rows

    return [row.path for row in rows(call.resolved, call.word.partition("=")[0])]


def _settings(call: Call) -> Iterator[str]:
    """Settings as `path=`, one level of the tree at a time, then values: at least two, so that no blank follows."""
    from tasks.settings.layers import spec_of
    from tasks.settings.merge import rows
    from tasks.settings.origin import as_text

    path, equals, _ = call.word.partition("=")
    known = _paths(call)
    if not equals and len(known) > 1:
        levels = {path}
        while len(levels) == 1:
            begin = levels.pop()
            levels = {_level(each, len(begin)) for each in known}
        yield from sorted(levels)
        return
    for row in rows(call.resolved, path):
        shape = spec_of(tuple(row.path.split(".")))
        choices = shape.choices or ("true", "false") * ("true or false" in shape.says) if shape is not None else ()
        yield from (f"{row.path}={each}" for each in ("", *(choices or (as_text(row.value),))))


def _level(path: str, start: int) -> str:
    end = path.find(".", start)
    return f"{path}=" if end < 0 else path[: end + 1]


_VALUES: Mapping[str, Callable[[Call], Iterable[str]] | tuple[str, ...]] = {
    "profile": profiles,
    "engine": ENGINES,
    "context": _contexts,
    "set": _settings,
    "against_set": _settings,
    "only": _paths,
    "format": ("text", "json"),
    "timing": lambda call: sorted(path.stem for path in (call.root / "config" / "rehearsal").glob("*.yaml")),
}
"""Values by option, for all tasks that have it; a task's own ones are in its decorator."""
