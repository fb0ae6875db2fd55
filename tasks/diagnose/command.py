"""Runs a program in a step; a failure carries its cause, if that is known."""

from collections.abc import Callable
from pathlib import PurePath

from tasks.engine.step import Action, Context, Report
from tasks.process.command import Command, CommandFailed, Completed, DeadlinePassed
from tasks.process.programs import Programs


def run_command(
    programs: Programs,
    command: Command,
    context: Context | None = None,
    *,
    listen: Callable[[str], None] | None = None,
    quiet: bool = False,
) -> Completed:
    """Like `Programs.run`; a `CommandFailed` is completed with its known cause."""
    try:
        return programs.run(command, context, listen=listen, quiet=quiet)
    except CommandFailed as error:
        explain(error, command.argv[0])
        raise


def command_action(programs: Programs, command: Command) -> Action:
    """One command as an action."""

    def act(context: Context) -> Report | None:
        return Report(exit_code=run_command(programs, command, context).code)

    return act


def explain(error: CommandFailed, program: str) -> CommandFailed:
    """The same failure with `why`, `fix`, `transient` and `cause` of the first cause that matches, if any.

    `program` is its name or path.
    """
    from tasks.diagnose.rules import catalogue, clean, recognise  # with the catalogue: only after a failure

    done = error.done
    text = clean(done.err if done.quiet else f"{done.out}\n{done.err}")  # a message may repeat what it is found in
    name = PurePath(program).name.removesuffix(".exe")
    code = None if isinstance(error, DeadlinePassed) else done.code
    found = recognise(catalogue(), text, where=name, code=code)
    return error if found is None else error.explain(found)
