"""Tasks of one's own: copy this file beside tasks.py, and change it.

`invoke warm` runs the step alone; `invoke up` runs it with all others, as soon as what it needs is ready.
"""

from __future__ import annotations

from functools import partial

from tasks.api import Context, Facts, Report, Session, Step, run, run_steps, task


def steps(facts: Facts) -> list[Step]:
    """The steps that join each launch."""
    release = next((each for each in facts.releases if each.name == "cert-manager"), None)
    if release is None:
        return []
    return [
        Step(
            name="warm: certificates",
            action=partial(_warm, facts, release.namespace),
            needs=(f"release:{release.namespace}/{release.name}",),
            deadline=60.0,
            why="the first certificate takes longer",
        )
    ]


def _warm(facts: Facts, namespace: str, context: Context) -> Report:
    done = run(facts, context, "kubectl", "--namespace", namespace, "get", "deployments", "--output", "name")
    return Report(why=f"{len(done.out.split())} deployments", exit_code=done.code)


@task(help={"dry": "only say what would be done"})
def warm(session: Session, dry: bool = False) -> int:
    """Warm up the certificates."""
    return 0 if dry else run_steps(session, steps)
