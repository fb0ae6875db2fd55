"""The overhead of the pool itself: `python -m tasks.benchmark.pool`.

A thousand processes through the pool, with their logs and the run's record, compared with GNU parallel with its own
(`--results`, `--joblog`), if that is installed. To isolate the pool: the same commands by sh only, without
logs and record, and through the same pool with each process started by `posix_spawn` instead. And ten thousand steps
without a process against a thousand.
"""

import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from tasks.engine import record
from tasks.engine.scheduler import Run
from tasks.engine.step import Action, Bounds, Context, Report, Step
from tasks.process import runner
from tasks.process.command import Command
from tasks.process.programs import Programs
from tasks.view.console import out

BOUND = 8
PROCESSES, STEPS = 1000, 10_000
ROUNDS = 5
_TRUE = "/usr/bin/true"


def run_processes(count: int, folder: Path) -> None:
    """That many processes of `true`, with a log for each and a record of the run."""
    programs = Programs(env={"PATH": "/usr/bin:/bin"}, log_dir=folder / "logs")
    (folder / "logs").mkdir()

    def act(context: Context) -> Report | None:
        programs.run(Command(argv=("true",)), context)
        return Report(exit_code=0)

    _run([Step(name=f"true {number}", task="bench", action=act) for number in range(count)], folder)


class _Spawned:
    """A process started without a fork of this one; implements the part of sh's class that `process` uses."""

    def __init__(self, path: str) -> None:
        self.pid = os.posix_spawn(path, [path], {}, setsid=True)

    def wait(self) -> int:
        """Its exit code."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def run_spawned(count: int, folder: Path) -> None:
    """As `run_processes`, with another way to start processes."""
    runner._start = lambda path, *_: _Spawned(path)  # noqa: SLF001 - for the comparison
    run_processes(count, folder)


def run_by_sh(count: int, _folder: Path) -> None:
    """The same with sh only: from threads, one fork at a time; nothing is read, logged or recorded."""
    left = iter(range(count))
    fork = threading.Lock()

    def work() -> None:
        with Path(os.devnull).open("r+b") as null:
            handle = null.fileno()
            while True:
                with fork:
                    if next(left, None) is None:
                        return
                    started = runner._start(_TRUE, [_TRUE], {}, None, null, handle, handle)  # noqa: SLF001
                started.wait()

    threads = [threading.Thread(target=work) for _ in range(BOUND)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()


def run_steps(count: int, folder: Path) -> None:
    """That many steps that do nothing, a tenth of them in a chain."""
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
    wall_s = time.monotonic() - begin
    run = record.RunRecord.of(
        steps, results, task="bench", engine="none", started=started, wall_s=wall_s, concurrency=BOUND
    )
    record.write(run, folder, redact=str, acts=False)


def _parallel(folder: str) -> list[str]:
    own = ["parallel", f"-j{BOUND}", "--joblog", f"{folder}/joblog", "--results", f"{folder}/results", "true"]
    return [*own, ":::", *(str(number) for number in range(PROCESSES))]


def _seconds(argv: list[str]) -> float:
    return Programs(env=dict(os.environ)).run(Command(argv=tuple(argv), deadline=300.0)).seconds


def _each(*ways: Callable[[], float]) -> list[list[float]]:
    """Rounds of each way in turn; the first is discarded."""
    rounds = [[way() for way in ways] for _ in range(ROUNDS + 1)]
    return [list(column) for column in zip(*rounds[1:], strict=True)]


def _described(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f}–{max(seconds):.2f})"


def _ratio(one: list[float], other: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


def compare() -> list[str]:
    """The figures, as lines."""
    lines = []
    own = [sys.executable, "-m", "tasks.benchmark.pool"]
    rows = {name: (lambda kind=kind: _seconds([*own, kind, str(PROCESSES)])) for kind, (name, _) in _WAYS.items()}
    if shutil.which("parallel"):
        with tempfile.TemporaryDirectory() as folder:
            columns = _each(lambda: _seconds(_parallel(tempfile.mkdtemp(dir=folder))), *rows.values())
        lines.append(f"{PROCESSES} processes, {BOUND} at once, by GNU parallel: {_described(columns[0])}")
        for name, column in zip(rows, columns[1:], strict=True):
            lines.append(f"the same {name}: {_described(column)}; {_ratio(column, columns[0]):.2f}")
    else:
        lines.append("GNU parallel is not installed: the processes are not compared")
    short, long = _each(lambda: _inside(STEPS // 10), lambda: _inside(STEPS))
    per_step = _ratio(long, short) / 10
    lines.append(
        f"{STEPS} steps without processes: {_described(long)}; {STEPS // 10}: {_described(short)}; "
        f"per step {per_step:.2f}"
    )
    return lines


def _inside(count: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        run_steps(count, Path(folder))
        return time.monotonic() - begin


_WAYS: Mapping[str, tuple[str, Callable[[int, Path], None]]] = {
    "processes": ("through the pool", run_processes),
    "sh": ("by sh alone, without logs and record", run_by_sh),
    "spawned": ("through the pool, by posix_spawn instead of sh", run_spawned),
}


def main() -> None:
    """The comparison; or, as its child, one part of it."""
    if len(sys.argv) == 3:
        with tempfile.TemporaryDirectory() as folder:
            _WAYS[sys.argv[1]][1](int(sys.argv[2]), Path(folder))
        return
    out(compare())


if __name__ == "__main__":
    main()
