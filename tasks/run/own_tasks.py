"""`own_tasks`: the user's module or package beside tasks.py. Its tasks and steps are added to those of the project."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.errors import BadInput, LaunchError, PlanError
from tasks.core.paths import OWN_TASKS, own_tasks
from tasks.engine.step import Step as EngineStep
from tasks.engine.work import RunOwn
from tasks.settings.derived import OWN

if TYPE_CHECKING:
    from types import ModuleType

    from invoke.tasks import Task

    from tasks.facts.facts import Facts


@dataclass(frozen=True, kw_only=True)
class Step(EngineStep):
    """A step of the user. `needs` and `before` may use the same names as in the settings, or steps of the plan."""

    task: str = "steps"
    kind: str | None = OWN
    """Bounded by `pool.steps`; None: by the pool only."""
    before: tuple[str, ...] = ()


def module(root: Path) -> ModuleType | None:
    """The user's module; None if there is none. Raises `BadInput` if it cannot be imported."""
    path = own_tasks(root)
    if path is None:
        return None
    known = sys.modules.get(OWN_TASKS)
    if known is not None and known.__file__ == str(path):
        return known
    spec = importlib.util.spec_from_file_location(OWN_TASKS, path)
    assert spec is not None
    assert spec.loader is not None
    made = sys.modules[OWN_TASKS] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(made)
    except (Exception, SystemExit) as error:  # its exit code would count as that of the task
        del sys.modules[OWN_TASKS]
        if isinstance(error, LaunchError):
            raise
        raise _broken(path, error, "cannot be imported") from error
    return made


def _broken(path: Path, error: Exception | SystemExit, how: str) -> BadInput:
    trace, line = error.__traceback__, None
    while trace is not None:
        line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == str(path) else line
        trace = trace.tb_next
    where = f"{path}, line {line}" if line else str(path)
    return BadInput(f"{where}: {how}", why=f"{type(error).__name__}: {error}", fix="correct it, or remove the file")


def tasks(root: Path) -> list[Task[Any]]:
    """The tasks of the user's module. Raises `BadInput`."""
    from invoke.tasks import Task

    found = module(root)
    return [each for each in vars(found).values() if isinstance(each, Task)] if found is not None else []


def steps(facts: Facts) -> list[Step]:
    """The result of its function `steps(facts)` for a launch; they do not run in a rehearsal. Raises `BadInput`."""
    found = module(facts.root)
    make = getattr(found, "steps", None)
    if found is None or make is None:
        return []
    try:
        made = make(facts)
    except LaunchError:
        raise
    except (Exception, SystemExit) as error:
        raise _broken(Path(str(found.__file__)), error, "its `steps` failed") from error
    if not isinstance(made, Sequence) or not all(isinstance(each, EngineStep) for each in made):
        raise PlanError(
            f"{found.__file__}: `steps` returned no list of steps",
            why=f"it is {type(made).__name__}",
            fix="return a list of tasks.api.Step",
        )
    return [_guarded(facts, each) for each in made]


def _guarded(facts: Facts, step: EngineStep) -> Step:
    """The step, extended for rehearsals, and with a part of the launch so that others can wait for it."""
    given = {name: getattr(step, name) for name in EngineStep.__dataclass_fields__}
    made = step if isinstance(step, Step) else Step(**{**given, "task": "steps"})
    work = made.work or RunOwn(step=made.name)
    return replace(made, action=partial(facts.backend.own, ("step", made.name), made.action), work=work)
