"""The interface for your own tasks, in `own_tasks.py` or a package `own_tasks` beside tasks.py (docs/how-to.md).

Names in this module are stable; everything else in this project may change.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tasks.engine.step import Context, Report, Retry
from tasks.facts.facts import Facts
from tasks.process.command import Command, CommandFailed, Completed
from tasks.run.own_command import environment
from tasks.run.own_tasks import Step
from tasks.run.session import Session
from tasks.run.task import run_part, task

__all__ = [
    "CommandFailed",
    "Completed",
    "Context",
    "Facts",
    "Report",
    "Retry",
    "Session",
    "Step",
    "run",
    "run_steps",
    "task",
]


def run(
    facts: Facts,
    context: Context,
    *argv: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    quiet: bool = False,
) -> Completed:
    """Run a program in a step: with KUBECONFIG, CONTEXT, IP and DOMAIN of the cluster, in a process group of its own.

    It has the step's deadline, is terminated at Ctrl-C, and its masked output goes to the step's log. `quiet`: it does
    not, since it may be secret. Raises `CommandFailed`, which fails the step.
    """
    command = Command(
        argv=argv,
        env={**environment(facts), **(env or {})},
        cwd=cwd or facts.root,
        stdin=stdin,
        deadline=context.deadline,
    )
    return facts.programs.run(command, context, quiet=quiet)


def run_steps(session: Session, steps: Callable[[Facts], Sequence[Step]]) -> int:
    """Run steps alone, in a running cluster, as one run of the project: locked, shown, recorded. Returns the exit code.

    Their needs from other tasks must be met already.
    """
    from tasks.run import own_steps

    return run_part(session, "steps", lambda facts: own_steps.woven(facts, (), steps(facts), alone=True))
