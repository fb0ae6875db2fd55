"""invoke.yaml: invoke's own keys at the top, the settings below `openframe`.

invoke reads the same file. It takes `timeouts` and `tasks` at the top for its own, lets every INVOKE_… variable
override keys that exist, and shows a traceback where a file or a variable is not as it likes (seen with
invoke 3.0.3). One name of ours keeps the two apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path as Folder
from typing import Any

from tasks.core.errors import BadInput
from tasks.settings.files import read
from tasks.settings.origin import FILE, Layer, Origin, Path, Problem, nearest, quoted, refusal

NAME = "invoke.yaml"
OURS, PROFILE = "openframe", "profile"
INVOKES = frozenset({"debug", "run", "runners", "sudo", "tasks", "timeouts"})
"""The top of invoke's own configuration (docs: invoke, default configuration values)."""
_OTHERS = ("invoke.yml", "invoke.json", "invoke.py")
_TOP = f"it must be a mapping: {OURS}, {PROFILE}, and invoke's own names"
_PREFIX = f"INVOKE_{OURS.upper()}_"

Report = Callable[[Problem], None]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What of invoke.yaml is ours."""

    layer: Layer
    profile: tuple[str, Origin] | None


def look(root: Folder, report: Report) -> Found:
    """Read the file, if there is one. Raises `BadInput` where it cannot be read at all; every other fault is told."""
    path, origin = root / NAME, Origin(layer=FILE, name=NAME)
    if not path.exists():
        for other in _OTHERS:
            if (root / other).exists():
                why = f"settings are read from {NAME} alone"
                raise BadInput(f"there is {other}, but no {NAME}", why=why, fix=f"rename it to {NAME}")
        return Found(layer=Layer(data=None, origin=origin), profile=None)
    found = read(path, NAME, "the configuration of the project")
    top = Layer(data=found.data, origin=origin, lines=found.lines)
    if found.data is None:
        return Found(layer=Layer(data=None, origin=origin), profile=None)
    if not isinstance(found.data, dict):
        report(Problem(origin=origin, what=f"all of it is {quoted((), found.data)}", why=_TOP))
        return Found(layer=Layer(data=None, origin=origin), profile=None)
    for name in found.data:
        _check(name, found.data[name], top, report)
    ours = found.data.get(OURS)
    below = dict(ours) if isinstance(ours, dict) else ours
    profile = _profile(top, below, report)
    return Found(layer=Layer(data=below, origin=origin, lines=found.lines, inside=(OURS,)), profile=profile)


def _profile(top: Layer, ours: Any, report: Report) -> tuple[str, Origin] | None:  # noqa: ANN401 - any JSON value
    """`profile` at the top, or with the other settings; it is taken out of these: the choice is a layer of its own."""
    given: list[tuple[Any, Path]] = [(top.data[PROFILE], (PROFILE,))] if top.data.get(PROFILE) is not None else []
    if isinstance(ours, dict) and ours.pop(PROFILE, None) is not None:
        given.append((top.data[OURS][PROFILE], (OURS, PROFILE)))
    for value, path in given:
        if not isinstance(value, str):
            why = "it must be a profile's name, or a path"
            report(Problem(origin=top.at(path), what=f"profile is {quoted((), value)}", why=why))
            return None
    if len({value for value, _ in given}) > 1:
        why = f"it stands at the top and below {OURS}, and they differ"
        report(Problem(origin=top.at(given[1][1]), what="profile is set twice", why=why, fix="take one out"))
    return (str(given[0][0]), top.at(given[0][1])) if given else None


def _check(name: str, value: Any, top: Layer, report: Report) -> None:  # noqa: ANN401 - any JSON value
    from tasks.settings.schema import Settings
    from tasks.settings.shape import fields

    ours = fields(Settings)
    own = isinstance(value, dict) and set(value) - {"command"}
    if name in (OURS, PROFILE) or (name in INVOKES and not (name == "timeouts" and own)):
        return
    what = f"'{name[:80]}' stands at the top"
    if name in ours:
        why = f"the top belongs to invoke itself (it has a `timeouts` too); settings stand below {OURS}"
        report(Problem(origin=top.at((name,)), what=what, why=why, fix=f"move it below `{OURS}:`"))
        return
    why = f"it is none of {', '.join(sorted({OURS, PROFILE, *INVOKES}))}"
    meant = nearest(name, [OURS, PROFILE, *INVOKES]) or nearest(name, ours)
    fix = "" if meant is None else f"did you mean {meant}?" if meant not in ours else f"did you mean {OURS}.{meant}?"
    report(Problem(origin=top.at((name,)), what=what, why=why, fix=fix))


def check_invoke_yaml(root: Folder, environ: Mapping[str, str] | None = None) -> None:
    """What invoke would answer with a traceback, as one clear error. Raises `BadInput`.

    Called before invoke reads the file; pydantic is not loaded.
    """
    found = read(root / NAME, NAME, "the configuration of the project")
    top = Layer(data=found.data, origin=Origin(layer=FILE, name=NAME), lines=found.lines)
    problems = []
    if found.data is not None and not isinstance(found.data, dict):
        problems.append(Problem(origin=top.origin, what=f"all of it is {quoted((), found.data)}", why=_TOP))
    for name in INVOKES & set(found.data or ()) if not problems else ():
        if name != "debug" and not isinstance(found.data[name], dict):
            why = "it belongs to invoke, and must be a mapping"
            what = f"{name} is {quoted((), found.data[name])}"
            problems.append(Problem(origin=top.at((name,)), what=what, why=why))
    if problems:
        raise refusal(problems)
    refuse_variables(environ or {})
    _rehearse(root)


def refuse_variables(environ: Mapping[str, str]) -> None:
    """Variables that invoke takes for settings: they would be lost, or end it. Raises `BadInput`."""
    given = sorted(name for name in environ if name.startswith(_PREFIX))
    if given:
        raise BadInput(
            f"the variable {given[0]} has no effect here",
            why="settings are read once, by their own names: no INVOKE_… variable sets one",
            fix="unset it; use `--set path=value`, or the variables that docs/reference/settings.md lists",
        )


def _rehearse(root: Folder) -> None:
    """Let invoke read what it will read, and tell its exception as an error."""
    from invoke.config import Config

    try:
        config = Config(project_location=root)
        config.load_project()
        config.load_shell_env()
    except Exception as error:  # noqa: BLE001 - invoke lets whatever it meets through: of YAML, of casting, of merging
        why, fix = _reason(error)
        what = f"invoke cannot use {NAME}, or a variable whose name begins with INVOKE_"
        raise BadInput(what, why=why, fix=fix) from None


def _reason(error: Exception) -> tuple[str, str]:
    """Why, and what to do."""
    from invoke.exceptions import AmbiguousEnvVar, UncastableEnvVar

    text = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, AmbiguousEnvVar):
        why = f"invoke makes a variable's name of every name in the file, and two of them give {text.split()[-1]}"
        return why, "put one of them into a profile: invoke does not read those"
    if isinstance(error, TypeError):
        return "to invoke a name in it is no text", "put names such as on, yes and 1 in quotes"
    if isinstance(error, UncastableEnvVar):
        return "such a variable would set a list", "`env | grep ^INVOKE_` shows them: unset it"
    fix = "put dates in quotes; `env | grep ^INVOKE_` shows the variables"
    return f"{type(error).__name__}: {text[:200]}", fix
