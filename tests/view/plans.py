"""A launch as the views' tests know it: a plan of 40 steps, and what may become of it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tasks.core.errors import LaunchError
from tasks.engine.record import RunRecord
from tasks.engine.scheduler import Run
from tasks.engine.step import Action, Bounds, Context, Report, Result, State, Step, Watcher
from tasks.process.command import Command, CommandFailed, Completed
from tasks.view.console import Line
from tasks.view.launch import Launch
from tasks.view.summary import Summary

NAMESPACES = tuple(f"integrated-tools-datasources-{number}" for number in range(10))


def step(name: str, *needs: str, **more: Any) -> Step:
    return Step(name=name, task="t", needs=needs, **more)


def ran(name: str, start: float, end: float, *needs: str, **more: Any) -> Result:
    given = {"state": State.RAN, "ready_s": start, "start_s": start, "end_s": end, "attempts": 1, **more}
    return Result(name=name, task="t", needs=needs, **given)


def launch(act: Callable[[str], Action] = lambda _name: lambda _context: None) -> list[Step]:
    """40 steps, of which 10 are skipped; `act` gives the action of each of the others."""
    steps = [
        step("prepull: rancher/k3s:v1.35.5-k3s1", kind="download", action=act("prepull: rancher/k3s:v1.35.5-k3s1")),
        step("cluster: create", "prepull: rancher/k3s:v1.35.5-k3s1", wait=True, action=act("cluster: create")),
        step("cluster: watch nodes", until=("cluster: create",), action=lambda c: c.wait(60)),
        step("cluster: api", "prepull: rancher/k3s:v1.35.5-k3s1", wait=True, action=act("cluster: api")),
    ]
    for name in NAMESPACES:
        steps += [
            step(f"namespaces: {name}", "cluster: api", action=act(f"namespaces: {name}")),
            step(
                f"secrets: {name}", f"namespaces: {name}", skip="GITHUB_TOKEN_CLASSIC is empty; an existing one stays"
            ),
            step(f"manifests: {name}", f"namespaces: {name}", action=act(f"manifests: {name}")),
        ]
    steps += [
        step("helm: fetch jetstack/cert-manager", kind="helm", action=act("helm: fetch jetstack/cert-manager")),
        step(
            "helm: cert-manager",
            "helm: fetch jetstack/cert-manager",
            "cluster: api",
            kind="helm",
            action=act("helm: cert-manager"),
        ),
        step("helm: cert-manager ready", "helm: cert-manager", wait=True, action=act("helm: cert-manager ready")),
    ]
    steps += [
        step(f"health: {n}", "helm: cert-manager ready", action=act(f"health: {n}")) for n in ("api", "nodes", "dns")
    ]
    return steps


def failed_command(*argv: str, err: str = "", code: int = 1) -> CommandFailed:
    return CommandFailed(Completed(command=Command(argv=argv), code=code, out="", err=err, seconds=1.0))


def failing(bad: Mapping[str, BaseException]) -> Callable[[str], Action]:
    """Actions of which those named raise."""

    def act(name: str) -> Action:
        def action(_context: Context) -> Report | None:
            if name in bad:
                raise bad[name]
            return None

        return action

    return act


def play(steps: Sequence[Step], watcher: Watcher | None = None, **more: Any) -> list[Result]:
    return Run(steps=steps, bounds=Bounds(work=4), watcher=watcher or Watcher(), refresh=0.01, **more).execute()


def ending(
    steps: Sequence[Step], results: Sequence[Result], wall_s: float = 18.8, *, interrupted: bool = False, **more: Any
) -> Summary:
    started = datetime(2026, 11, 25, tzinfo=UTC)
    run = RunRecord.of(steps, results, task="up", started=started, wall_s=wall_s, interrupted=interrupted)
    return Summary(run=run, **more)


def scene(steps: Sequence[Step], **more: Any) -> Launch:
    return Launch(**{"task": "up", "steps": steps, "history": {}, "bounds": Bounds(work=4), **more})


def texts(lines: Sequence[Line]) -> list[str]:
    return [line.text for line in lines]


NOT_OURS = LaunchError(
    "the release 'cert-manager' is not ours",
    why="helm does not take over what it did not install",
    fix="remove it with `helm uninstall cert-manager -n cert-manager`",
)
