"""One command of the user's own: its environment, its secrets, and what is said of its failure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tasks.core.errors import BadInput
from tasks.core.redact import clean, redact
from tasks.engine.step import Report
from tasks.facts.secret_source import Empty, sources, value_of
from tasks.process.command import Command, CommandFailed, DeadlinePassed, ProgramMissing
from tasks.process.programs import Programs
from tasks.run.step_state import folder, variables
from tasks.settings.derived import context_name
from tasks.settings.references import own_steps
from tasks.settings.step_names import own_name

if TYPE_CHECKING:
    from tasks.engine.step import Context, Step
    from tasks.facts.facts import Facts
    from tasks.settings.schema import OwnStep

_SHELL = "/bin/sh"
_KEPT = 4 << 20
"""Bytes of each stream that are kept: a command may write for as long as it runs."""
_NOT_FOUND = 127
"""Code of a shell that has not found a program (POSIX: 2.8.2)."""


def run_own(facts: Facts, own: OwnStep, context: Context) -> Report | None:
    """Run it, unless its `unless` ends well. Raises `CommandFailed`, `ProgramMissing`, `BadInput`, `Stopped`."""
    programs = facts.programs.with_env(secrets(facts, own)).with_env(_path(facts))
    try:
        if own.unless is not None and _holds(programs, _command(facts, own, own.unless), context):
            return Report(skipped=True, why="`unless` ended well")
        done = programs.run(
            _command(facts, own, own.command),
            context,
            listen=lambda text: context.say(clean(redact(text))),
        )
    except (CommandFailed, ProgramMissing) as error:
        raise _told(own, error) from None
    return Report(exit_code=done.code)


def environment(facts: Facts) -> dict[str, str]:
    """What leads to this cluster."""
    cluster = facts.settings.cluster
    return {
        "KUBECONFIG": str(facts.paths.kubeconfig),
        "CONTEXT": context_name(facts.name) if facts.owns_cluster else facts.cluster.name,
        "IP": cluster.bind_address,
        "DOMAIN": cluster.domain,
    }


def secrets(facts: Facts, own: OwnStep) -> dict[str, str]:
    """The values, concealed from now on. Raises `BadInput` for one that is not there, or that no variable can hold."""
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
            raise _no_secret(own, name, "it holds a NUL character, which no variable can")
        found[name] = text
    return found


def refuse_unset(facts: Facts, plan: Sequence[Step]) -> None:
    """Raises `BadInput` for a step that will run and whose secret's variable is not set, before anything starts."""
    running = {step.name for step in plan if step.skip is None}
    for own in own_steps(facts.settings):
        for name, source in own.secrets.items() if own_name(own) in running else ():
            if source.env and not facts.environ.get(source.env, "").strip():
                raise _no_secret(own, name, f"{source.env} is not set")


def _no_secret(own: OwnStep, name: str, why: str) -> BadInput:
    return BadInput(
        f"step '{own.name}' lacks its secret {name}", why=why, fix=f"give it (settings: steps.{own.name}.secrets)"
    )


def _path(facts: Facts) -> Mapping[str, str]:
    """The project's own programs first, as everywhere in a launch."""
    if facts.programs.folder is None:
        return {}
    return {"PATH": os.pathsep.join([str(facts.programs.folder), facts.programs.env.get("PATH", os.defpath)])}


def _command(facts: Facts, own: OwnStep, argv: Sequence[str]) -> Command:
    cwd = folder(facts, own)
    if own.shell:
        argv = (_SHELL, "-c", *argv)
    elif "/" in argv[0]:
        argv = (str(cwd / argv[0]), *argv[1:])
    if not cwd.is_dir():
        raise BadInput(f"step '{own.name}' cannot run in {cwd}", why="there is no such folder", fix="correct its `dir`")
    env = {**environment(facts), **variables(facts, own)}
    return Command(argv=tuple(argv), env=env, cwd=cwd, deadline=own.timeout, kept=_KEPT)


def _holds(programs: Programs, command: Command, context: Context) -> bool:
    """Whether a condition ends well."""
    try:
        programs.run(command, context)
    except DeadlinePassed:
        raise
    except CommandFailed:
        return False
    return True


def _told(own: OwnStep, error: CommandFailed | ProgramMissing) -> CommandFailed | ProgramMissing:
    """The same with what to do about it; tried again, if that is wanted."""
    again = "`invoke up` goes on from here" if own.when == "up" else "`invoke down` begins with it again"
    fix, why = f"correct it (settings: steps.{own.name}), then {again}", ""
    if isinstance(error, ProgramMissing):
        return error.amend(fix=f"install it, or correct steps.{own.name}.command")
    if isinstance(error, DeadlinePassed):
        fix = f"see where it hangs; a longer limit is steps.{own.name}.timeout"
    elif own.shell and error.exit_code == _NOT_FOUND:
        why = "a program that it calls is not on the PATH"
    if own.when == "down":
        fix += f". To remove the cluster without it: invoke down --set steps.{own.name}.enabled=false"
    return error.amend(fix=fix, why=why, transient=own.retries > 0)
