"""One command of the user's own: its environment, the explanation of its failure, and its recorded state.

The cluster records for each the fingerprint of its last success: in a ConfigMap for each step, so that the record
disappears with a removed cluster, and returns with a restored one. A fingerprint contains only the sources of
secrets: a digest of a short one reveals it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.errors import BadInput, LaunchError
from tasks.core.files import file_digest, sha256
from tasks.core.redact import clean, redact
from tasks.engine.step import Report
from tasks.facts.cluster import Presence
from tasks.facts.manifest_files import own_objects
from tasks.facts.secrets import Empty, sources, value_of
from tasks.kube.objects import Key, Resources, digest, fill, finish, is_secret, live
from tasks.kube.releases import releases
from tasks.process.command import Command, CommandFailed, DeadlinePassed, ProgramMissing
from tasks.process.programs import Programs
from tasks.run.desired import marker_key
from tasks.settings.derived import own_name
from tasks.settings.needs import BUILD, MANIFESTS, RELEASE, STEP, TASK, Target, own_steps, refuse_unknown
from tasks.settings.origin import masked

if TYPE_CHECKING:
    from tasks.engine.step import Context, Step
    from tasks.facts.facts import Facts
    from tasks.kube.releases import LiveRelease
    from tasks.settings.schema_parts import OwnStep

_SHELL = "/bin/sh"
_KEPT = 4 << 20
"""Bytes of each stream that are retained: a command may write for as long as it runs."""
_NOT_FOUND = 127
"""Exit code of a shell that has not found a program (POSIX: 2.8.2)."""
_SPECIAL = frozenset("*?[")
_NO_INPUTS = frozenset({".git", "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache"})
"""Folders for tools' own output: inputs only if a pattern names them."""


def run_own(facts: Facts, own: OwnStep, context: Context) -> Report | None:
    """Run it, unless its `unless` succeeds. Raises `LaunchError`, `Stopped`."""
    try:
        programs = facts.programs.with_env(secrets(facts, own)).with_env(_programs_path(facts, own))
        if own.unless is not None and _holds(programs, _command(facts, own, own.unless), context):
            return Report(skipped=True, why="`unless` succeeded")
        done = programs.run(
            _command(facts, own, own.command),
            context,
            listen=lambda text: context.say(clean(redact(text))),
        )
    except LaunchError as error:
        raise _explained(own, error) from None
    return Report(exit_code=done.code)


def environment(facts: Facts) -> dict[str, str]:
    """Variables that point to this cluster."""
    cluster = facts.settings.cluster
    return {
        "KUBECONFIG": str(facts.paths.kubeconfig),
        "CONTEXT": facts.context,
        "IP": cluster.bind_address,
        "DOMAIN": cluster.domain,
    }


def secrets(facts: Facts, own: OwnStep) -> dict[str, str]:
    """The values, concealed from now on. Raises `BadInput` for a missing one, or one that no variable can hold."""
    given = sources(facts.environ, facts.root, facts.programs, facts.settings.timeouts.command)
    found = {}
    for name, source in own.secrets.items():
        what, where = f"the secret {name} of step '{own.name}'", f"steps.{own.name}.secrets"
        try:
            value = value_of(source, given, what, where)
        except Empty as empty:
            raise _no_secret(own, name, str(empty)) from None
        text = value.decode("utf-8", "surrogateescape")
        if "\0" in text:
            raise _no_secret(own, name, "it contains a NUL character, which no variable can hold")
        found[name] = text
    return found


def refuse_unset(facts: Facts, plan: Sequence[Step]) -> None:
    """Raises `BadInput` for a step that will run with an unset variable for a secret, before anything starts."""
    running = {step.name for step in plan if step.skip is None}
    for own in own_steps(facts.settings):
        for name, source in own.secrets.items() if own_name(own) in running else ():
            if source.env and not facts.environ.get(source.env, "").strip():
                raise _no_secret(own, name, f"{source.env} is not set")


def _no_secret(own: OwnStep, name: str, why: str) -> BadInput:
    return BadInput(
        f"step '{own.name}' lacks its secret {name}", why=why, fix=f"set it (settings: steps.{own.name}.secrets)"
    )


def _programs_path(facts: Facts, own: OwnStep) -> Mapping[str, str]:
    """A PATH of its own, which counts for the command itself, too; else the project's programs first, as everywhere."""
    given = variables(facts, own).get("PATH")
    if given is not None or facts.programs.folder is None:
        return {"PATH": given} if given is not None else {}
    return {"PATH": os.pathsep.join([str(facts.programs.folder), facts.programs.env.get("PATH", os.defpath)])}


def _command(facts: Facts, own: OwnStep, argv: Sequence[str]) -> Command:
    cwd = folder(facts, own)
    if own.shell:
        argv = (_SHELL, "-c", *argv)
    elif "/" in argv[0]:
        argv = (str(_path(cwd, own, argv[0])), *argv[1:])
    if not cwd.is_dir():
        raise BadInput(f"step '{own.name}' cannot run in {cwd}", why="there is no such folder", fix="correct its `dir`")
    env = {**environment(facts), **variables(facts, own)}
    return Command(argv=tuple(argv), env=env, cwd=cwd, deadline=own.timeout, kept=_KEPT)


def _holds(programs: Programs, command: Command, context: Context) -> bool:
    """Whether a condition succeeds."""
    try:
        programs.run(command, context)
    except DeadlinePassed:
        raise
    except CommandFailed:
        return False
    return True


def _explained(own: OwnStep, error: LaunchError) -> LaunchError:
    """The same error with advice; retried if configured."""
    again = "`invoke up` continues from here" if own.when == "up" else "`invoke down` starts with it again"
    fix = error.fix
    if isinstance(error, ProgramMissing):
        fix = f"install it, or correct steps.{own.name}.command"
    elif isinstance(error, DeadlinePassed):
        fix = f"check where it hangs; for a longer limit set steps.{own.name}.timeout"
    elif isinstance(error, CommandFailed):
        fix = f"correct it (settings: steps.{own.name}), then {again}"
    if isinstance(error, CommandFailed):
        why = "a program that it calls is not on the PATH" if own.shell and error.exit_code == _NOT_FOUND else ""
        error.amend(why=why, transient=own.retries > 0)
    if own.when == "down":
        fix += f". To remove the cluster without it: invoke down --set steps.{own.name}.enabled=false"
    return error.amend(fix=fix)


# What the cluster remembers of it


def folder(facts: Facts, step: OwnStep) -> Path:
    """The folder that a step runs in."""
    return _path(facts.root, step, step.dir)


def _path(base: Path, step: OwnStep, name: str) -> Path:
    try:
        return base / Path(name).expanduser()
    except RuntimeError:
        why = "there is no home folder of that user"
    raise BadInput(f"steps.{step.name} names {name}", why=why, fix="correct the path")


def variables(facts: Facts, step: OwnStep) -> dict[str, str]:
    """The variables in its `env`, with placeholders filled in. Raises `BadInput` for one of an unknown build."""
    refuse_unknown(facts.settings, dict(step.env), f"steps.{step.name}.env")
    filled: dict[str, str] = fill(dict(step.env), facts.placeholders)
    return filled


def fingerprint(facts: Facts, step: OwnStep, needs: Sequence[Target]) -> str:
    """Digest of what a step does, with its inputs and needed manifests. Raises `BadInput` for an invalid input."""
    values = [each for each in step.inputs or () if not isinstance(each, str)]
    manifests = [each.name for each in needs if each.kind == MANIFESTS]
    made = {
        "command": step.command,
        "shell": step.shell,
        "dir": step.dir,
        "env": masked((), variables(facts, step)),
        "secrets": {name: source.model_dump() for name, source in step.secrets.items()},
        "values": masked((), values),
        "files": dict(_digests(facts, step)),
        "builds": [each.image for each in facts.builds if Target(BUILD, each.name) in needs],
        "manifests": [each for each in own_objects(facts, manifests) if not is_secret(each)] if manifests else [],
    }
    return digest(made)


def _digests(facts: Facts, step: OwnStep) -> Iterator[tuple[str, str]]:
    """Each file that is an input, or part of the command, by its path."""
    base, logs = folder(facts, step), f"{Path(facts.settings.log_dir).absolute()}/"
    named = [_path(base, step, step.command[0]), *(base / each for each in step.command[1:])] if not step.shell else []
    found = [path for path in named if _is_file(path)]
    for pattern in step.inputs or ():
        if isinstance(pattern, str):
            left_out = _NO_INPUTS.difference(Path(pattern).parts)
            try:
                there = _matching(base, step, pattern)
            except OSError as error:
                raise _unreadable(step, base / pattern, error) from None
            found += [
                each
                for each in there
                if left_out.isdisjoint(_seen(base, each).parts) and not str(each).startswith(logs)
            ]
    for path in sorted(set(found)):
        yield str(_seen(base, path)), _digest(step, path)


def _seen(base: Path, path: Path) -> Path:
    """A path relative to a parent folder, if possible."""
    return path.relative_to(base) if path.is_relative_to(base) else path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _matching(base: Path, step: OwnStep, pattern: str) -> list[Path]:
    """Files for a path, a folder's path, or a pattern."""
    path = _path(base, step, pattern)
    if _SPECIAL.isdisjoint(pattern):
        if not path.exists():
            why, fix = f"{path} does not exist", "correct the path; a pattern may match nothing"
            raise BadInput(f"steps.{step.name}.inputs names {pattern}", why=why, fix=fix)
        return [each for each in path.rglob("*") if _counts(each)] if path.is_dir() else [path]
    whole = pattern != str(Path(pattern).expanduser()) or Path(pattern).is_absolute()
    try:
        found = list(Path(path.anchor).glob(str(path.relative_to(path.anchor))) if whole else base.glob(pattern))
    except (ValueError, NotImplementedError, IndexError) as error:
        raise BadInput(
            f"steps.{step.name}.inputs has the pattern {pattern}", why=str(error), fix="`**` stands for whole folders"
        ) from None
    inner = [each for path in found if path.is_dir() for each in path.rglob("*")]
    return [each for each in [*found, *inner] if _counts(each)]


def _counts(path: Path) -> bool:
    """Whether it is a file, or a link to a folder: that is not entered, its target counts."""
    return _is_file(path) or path.is_symlink()


def _digest(step: OwnStep, path: Path) -> str:
    try:
        return file_digest(path) if path.is_file() else sha256(str(path.readlink()))
    except OSError as error:
        raise _unreadable(step, path, error) from None


def _unreadable(step: OwnStep, path: Path, error: OSError) -> BadInput:
    why = error.strerror or str(error)
    return BadInput(f"{path} is an input of steps.{step.name}", why=why, fix="make it readable")


def marker(facts: Facts, step: OwnStep, mark: str, needs: Sequence[Target]) -> dict[str, Any]:
    """The record of a step that has just succeeded. Raises `ApiError`."""
    wanted = _releases(facts, needs)
    there = releases(facts.api(), homes={_place(each)[0]: True for each in wanted}) if wanted else {}
    found = {each: state for each in wanted if (state := _state(there.get(_place(each))))}
    for target in needs:
        if target.kind == STEP and (other := _read(facts, marker_key(facts, target.name))) is not None:
            found[target] = other.get("ended", "")
    own = marker_key(facts, step.name)
    data = {
        "step": step.name,
        "fingerprint": mark,
        "ended": datetime.now(UTC).isoformat(),
        "after": json.dumps({str(target): state for target, state in found.items()}, sort_keys=True),
    }
    metadata = {"name": own.name, "namespace": own.namespace}
    return finish({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def _releases(facts: Facts, needs: Sequence[Target]) -> list[Target]:
    if Target(TASK, "helm") in needs:
        return [Target(RELEASE, f"{each.namespace}/{each.name}") for each in facts.releases]
    return [each for each in needs if each.kind == RELEASE]


def _place(target: Target) -> tuple[str, str]:
    namespace, _, name = target.name.partition("/")
    return namespace, name


def _state(release: LiveRelease | None) -> str:
    return f"revision {release.revision} since {release.begun}" if release is not None else ""


def _read(facts: Facts, place: Key) -> Mapping[str, str] | None:
    found = live(facts.api(), Resources(facts.api()), [place])[place]
    return (found.get("data") or {}) if found is not None else None


def changed(facts: Facts, step: OwnStep, mark: str, needs: Sequence[Target]) -> str:
    """Why a step has to run, according to its record; empty if nothing has changed since."""
    if facts.live is None and facts.cluster.presence is Presence.STOPPED:
        return "the cluster is not running: to be determined once it runs"
    there = facts.live.objects.get(marker_key(facts, step.name)) if facts.live is not None else None
    if facts.live is None or there is None:
        return "it has not run in this cluster"
    data = there.get("data") or {}
    if data.get("fingerprint") != mark:
        return "its command, its variables or its inputs have changed"
    now = {str(each): _state(facts.live.releases.get(_place(each))) for each in _releases(facts, needs)}
    for target in needs:
        other = facts.live.objects.get(marker_key(facts, target.name)) if target.kind == STEP else None
        if other is not None:
            now[str(target)] = (other.get("data") or {}).get("ended", "")
    try:
        then = json.loads(data.get("after") or "{}")
    except ValueError:
        then = {}
    new = [name for name, state in now.items() if state != then.get(name)]
    return f"{new[0]} has changed since it last ran" if new else ""
