"""Records of runs as files hold them, from what a test is about."""

from typing import Any

import pytest

from tasks.engine.record import RunRecord
from tasks.runs.catalogue import Log

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&\x1b[31m\u202e"
"""What a program or a registry may have put into a name."""


def step(name: str, *needs: str, at: tuple[float, ...] | None = (0.0, 0.0, 1.0), **more: Any) -> dict[str, Any]:
    """A step of a record; `at`: ready, start, end."""
    ready, start, end = at if at is not None else (None, None, None)
    return {
        "name": name,
        "task": name.partition(":")[0],
        "needs": list(needs),
        "state": "ran",
        "why": "",
        "ready_s": ready,
        "start_s": start,
        "end_s": end,
        "slot": 0,
        "attempts": 1,
        "exit_code": 0,
        **more,
    }


def skipped(name: str, why: str = "it is there") -> dict[str, Any]:
    """A step that had nothing to do."""
    return step(name, at=(0.1, 0.1, 0.1), state="skipped", why=why, slot=None, attempts=0, exit_code=None)


def launch() -> list[dict[str, Any]]:
    """A small launch of 10.4 s, as the engine records one: waits, a step that queued, one skipped, a guard."""
    return [
        skipped("prepull: k3s"),
        step("cluster: create", "prepull: k3s", at=(0.3, 0.3, 9.0), slot=None),
        step("cluster: API ready", at=(0.3, 0.3, 4.0), slot=None, exit_code=None),
        step("namespaces: apply", "cluster: API ready", at=(4.0, 4.0, 4.2), slot=0),
        step("helm: one", "namespaces: apply", at=(4.2, 4.2, 5.2), slot=0),
        step("helm: two", "namespaces: apply", at=(4.2, 5.2, 6.0), slot=0, attempts=2),
        step("helm: two ready", "helm: two", at=(6.0, 6.0, 10.2), slot=None, exit_code=None),
        step("cluster: watch the nodes", at=(0.3, 0.3, 10.3), slot=None, exit_code=None),
    ]


PATH = ["cluster: API ready", "namespaces: apply", "helm: two", "helm: two ready"]
"""The critical path of `launch`."""


def record(steps: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    """A whole record; of `launch`, unless steps are given."""
    return {
        "schema": 1,
        "task": "up",
        "engine": "k3d",
        "outcome": "ok",
        "started": "2026-11-25T04:19:43.434Z",
        "wall_s": 10.4,
        "floor_s": 9.1,
        "concurrency": 1,
        "settings_hash": "0123456789abcdef",
        "system": {"cpus": 2, "memory_gib": 23.5, "docker": None, "k3s_image": "rancher/k3s:v1.33.1-k3s1"},
        "steps": launch() if steps is None else steps,
        "critical_path": PATH if steps is None else [],
        **more,
    }


def run(steps: list[dict[str, Any]] | None = None, name: str = "20261125T041943.434Z-up", **more: Any) -> RunRecord:
    """A run as views read it."""
    return RunRecord.from_json(record(steps, **more), name)


FAILED_LOGS = {
    "helm: one": Log(
        path="/logs/helm--one.log", command="helm pull repo/one", lines=("$ helm pull repo/one", "Error: 404")
    )
}
"""Of `failed`."""


def failed() -> RunRecord:
    """A launch whose second step failed, which aborted others."""
    steps = [
        step("cluster: create", at=(0.3, 0.3, 2.0), slot=None),
        step("helm: one", at=(2.0, 2.0, 3.0), state="failed", why="the chart does not exist", exit_code=1, attempts=3),
        step("helm: two", at=(2.0, 2.0, 3.1), state="aborted", why="stopped because another step failed", slot=1),
        step("helm: three", at=None, state="aborted", why="needs 'helm: one', which did not run", attempts=0),
    ]
    return run(steps, outcome="failed", wall_s=3.2, floor_s=2.7, critical_path=["cluster: create", "helm: two"])


def many(count: int) -> RunRecord:
    """A launch of so many steps, 8 at once."""
    steps: list[dict[str, Any]] = []
    for number in range(count):
        begin = number // 8 * 0.5
        name = f"helm: install release-{number} in integrated-tools-datasources-{number % 7}"
        needs = [steps[number - 8]["name"]] if number >= 8 else []
        steps.append(
            step(
                name, *needs, at=(begin, begin + 0.1, begin + 0.1 + number % 5 / 10), slot=number % 8, why="chart 1.0.0"
            )
        )
    return run(steps, wall_s=count / 16 + 1, floor_s=count / 20, critical_path=[s["name"] for s in steps[::8]])


RUNS = {
    "a launch": run(),
    "one that failed": failed(),
    "many steps": many(130),
    "nothing to do": run([skipped("a")], wall_s=0.4),
    "no step": run([], wall_s=0.1),
    "odd names": run(
        [step(HOSTILE, why=HOSTILE, state="failed"), step("b", HOSTILE, at=(1.0, 1.0, 1.0))],
        task="up<b>",
        outcome="failed",
        system={"os": HOSTILE},
    ),
    "a rehearsal": run(engine="rehearsal"),
    "steps at once": run([step(str(n), at=(0.0, n / 10, 5.0 + n), slot=None) for n in range(9)]),
}
every_run = pytest.mark.parametrize("result", RUNS.values(), ids=RUNS.keys())


def logs(result: RunRecord) -> dict[str, Log]:
    """A log of 800 bytes for each step."""
    lines = ("$ helm upgrade --install release --namespace integrated-tools", *("x" * 73 for _ in range(10)))
    log = Log(path="/tmp/logs/runs/x/helm--install.log", command=lines[0][2:], lines=lines)
    return {row.name: log for row in result.results}
