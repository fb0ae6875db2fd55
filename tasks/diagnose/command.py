"""Runs a program in a step; its failure names the cause, where one is known."""

from __future__ import annotations

from collections.abc import Callable

from tasks.engine.step import Action, Context, Report
from tasks.process.command import Command, CommandFailed, Completed, Programs


def run_command(
    programs: Programs,
    command: Command,
    context: Context | None = None,
    *,
    listen: Callable[[str], None] | None = None,
    quiet: bool = False,
) -> Completed:
    """As `Programs.run`; a `CommandFailed` has what is known of its cause."""
    try:
        return programs.run(command, context, listen=listen, quiet=quiet)
    except CommandFailed as error:
        from tasks.diagnose.rules import explain

        explain(error, command.argv[0])
        raise


def command_action(programs: Programs, command: Command) -> Action:
    """One command as an action."""

    def act(context: Context) -> Report | None:
        return Report(exit_code=run_command(programs, command, context).code)

    return act
