"""What the pool itself costs: `python -m tasks.bench.pool`.

A thousand processes through the pool, with their logs and the run's record, against GNU parallel with its own
(`--results`, `--joblog`), where that is installed; and ten thousand steps without a process against a thousand.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tasks.engine import record
from tasks.engine.scheduler import Run
from tasks.engine.step import Action, Bounds, Context, Report, Step
from tasks.tools.program import Command, Programs
from tasks.view.output import out

BOUND = 8
PROCESSES, STEPS = 1000, 10_000
ROUNDS = 5


def run_processes(count: int, folder: Path) -> None:
    """So many processes of `true`, with a log for each and a record of the run."""
    programs = Programs(env={"PATH": "/usr/bin:/bin"}, log_dir=folder / "logs")
    (folder / "logs").mkdir()

    def act(context: Context) -> Report | None:
        programs.run(Command(argv=("true",)), context)
        return Report(exit_code=0)

    _run([Step(name=f"true {number}", task="bench", action=act) for number in range(count)], folder)


def run_steps(count: int, folder: Path) -> None:
    """So many steps that do nothing, a tenth of them in a chain."""
    nothing: Action = lambda _context: None  # noqa: E731 - the shortest action
    steps = [
        Step(name=f"{number}", task="bench", action=nothing, needs=(f"{number - 10}",) if number >= 10 else ())
        for number in range(count)
    ]
    _run(steps, folder)


def _run(steps: list[Step], folder: Path) -> None:
    started, begin = datetime.now(UTC), time.monotonic()
    results = Run(steps, Bounds(work=BOUND)).execute()
    bad = [result for result in results if result.state.value != "ran"]
    if bad:
        raise SystemExit(f"{bad[0].name}: {bad[0].error}")
    made = record.record(
        task="bench",
        engine="none",
        outcome="ok",
        started=started,
        wall_s=time.monotonic() - begin,
        concurrency=BOUND,
        settings_hash="",
        system={},
        results=results,
        steps=steps,
        redact=str,
    )
    record.write(made, folder, acts=False)


def _own(kind: str, count: int) -> list[str]:
    return [sys.executable, "-m", "tasks.bench.pool", kind, str(count)]


def _parallel(folder: str) -> list[str]:
    own = ["parallel", f"-j{BOUND}", "--joblog", f"{folder}/joblog", "--results", f"{folder}/results", "true"]
    return [*own, ":::", *(str(number) for number in range(PROCESSES))]


def _seconds(argv: list[str]) -> float:
    return Programs(env=dict(os.environ)).run(Command(argv=tuple(argv), deadline=300.0)).seconds


def _each(*ways: Callable[[], float]) -> list[list[float]]:
    """Rounds of each way in turn; the first is dropped."""
    rounds = [[way() for way in ways] for _ in range(ROUNDS + 1)]
    return [list(column) for column in zip(*rounds[1:], strict=True)]


def _told(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f}–{max(seconds):.2f})"


def compare() -> list[str]:
    """The figures, as lines."""
    lines = []
    if shutil.which("parallel"):
        with tempfile.TemporaryDirectory() as folder:

            def theirs() -> float:
                return _seconds(_parallel(tempfile.mkdtemp(dir=folder)))

            ours, gnu = _each(lambda: _seconds(_own("processes", PROCESSES)), theirs)
        ratio = statistics.median(one / other for one, other in zip(ours, gnu, strict=True))
        lines.append(f"{PROCESSES} processes, {BOUND} at once: {_told(ours)}; GNU parallel {_told(gnu)}; {ratio:.2f}")
    else:
        lines.append("GNU parallel is not installed: the processes are not compared")
    short, long = _each(lambda: _inside(STEPS // 10), lambda: _inside(STEPS))
    ratio = statistics.median(other / 10 / one for one, other in zip(short, long, strict=True))
    lines.append(f"{STEPS} steps without processes: {_told(long)}; {STEPS // 10}: {_told(short)}; per step {ratio:.2f}")
    return lines


def _inside(count: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        run_steps(count, Path(folder))
        return time.monotonic() - begin


def main() -> None:
    """The comparison; or, as its child, one part of it."""
    if len(sys.argv) == 3:
        with tempfile.TemporaryDirectory() as folder:
            run_processes(int(sys.argv[2]), Path(folder))
        return
    out(compare())


if __name__ == "__main__":
    main()
