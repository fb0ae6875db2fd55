"""Results of a benchmark as a document: created, written, and parsed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from tasks.core.errors import BadInput
from tasks.core.files import write_whole
from tasks.core.paths import expanded
from tasks.core.redact import redact
from tasks.settings.origin import shown_option

if TYPE_CHECKING:
    from tasks.benchmark.variants import Variant

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One pending launch."""

    variant: Variant
    round: int
    number: int
    """From 1, of `total`."""
    total: int


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One timed launch. All times are seconds."""

    variant: str
    round: int
    """From 0; warm-up rounds are below 0."""
    wall_s: float
    busy_s: float
    rest: float
    """Busy CPUs of the idle machine before it."""
    steps: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    critical_path: tuple[str, ...] = ()

    @property
    def cpu_s(self) -> float:
        """CPU seconds of the launch: those of the machine, less those of the idle machine."""
        return max(0.0, self.busy_s - self.rest * self.wall_s)


@dataclass(frozen=True, kw_only=True)
class Results:
    """A benchmark."""

    started: str
    engine: str
    system: Mapping[str, Any]
    variants: tuple[Mapping[str, Any], ...]
    runs: tuple[Measured, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of variants with results."""
        there = {run.variant for run in self.runs if run.round >= 0}
        return tuple(name for each in self.variants if (name := str(each["name"])) in there)

    def of(self, variant: str) -> tuple[Measured, ...]:
        """Its launches in the order of their rounds, without warm-ups."""
        return tuple(sorted((r for r in self.runs if r.variant == variant and r.round >= 0), key=lambda run: run.round))

    def walls(self, variant: str) -> list[float]:
        """Seconds of its launches."""
        return [run.wall_s for run in self.of(variant)]

    def cpus(self, variant: str) -> list[float]:
        """Processor seconds of its launches."""
        return [run.cpu_s for run in self.of(variant)]


def described(variant: Variant, settings_hash: str) -> dict[str, Any]:
    """A variant for results; values that may be private are omitted."""
    return {
        "name": variant.name,
        "mode": variant.mode,
        "state": variant.state,
        "profile": variant.setting.profile,
        "sets": [shown_option(each) for each in variant.setting.sets],
        "settings_hash": settings_hash,
    }


def document(results: Results) -> dict[str, Any]:
    """The written form. Schema 1 calls a variant a rival."""
    runs = [
        {
            "rival": run.variant,
            "round": run.round,
            "wall_s": round(run.wall_s, 3),
            "busy_s": round(run.busy_s, 3),
            "rest": round(run.rest, 4),
            "steps": {name: [round(at, 3) for at in span] for name, span in run.steps.items()},
            "critical_path": list(run.critical_path),
            "cpu_s": round(run.cpu_s, 3),
        }
        for run in results.runs
    ]
    head = {"schema": SCHEMA, "kind": "bench", "started": results.started, "engine": results.engine}
    return {**head, "system": dict(results.system), "rivals": list(results.variants), "runs": runs}


def with_rest(runs: Sequence[Measured]) -> tuple[Measured, ...]:
    """The same with a common rest: a single measurement lasts only a few seconds."""
    rest = median(run.rest for run in runs) if runs else 0.0
    return tuple(replace(run, rest=rest) for run in runs)


def write(results: Results, path: Path) -> None:
    """Raises OSError."""
    write_whole(path, redact(json.dumps(document(results), indent=1, ensure_ascii=False)) + "\n")


def read(text: str | Path) -> Results:
    """Recorded results of a file. Raises `BadInput`."""
    path = expanded(text)
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
        if made["kind"] != "bench" or made["schema"] != SCHEMA:
            raise ValueError("it is not a result of bench, or of another version")
        return Results(
            started=str(made["started"]),
            engine=str(made["engine"]),
            system=made["system"],
            variants=tuple(made["rivals"]),
            runs=tuple(_measured(run) for run in made["runs"]),
        )
    except OSError as error:
        why = error.strerror or str(error)
    except (ValueError, KeyError, TypeError) as error:
        why = f"it holds something else: {error}"
    raise BadInput(f"the results {path} cannot be read", why=why, fix="use a bench.json written by `invoke bench`")


def _measured(run: Mapping[str, Any]) -> Measured:
    return Measured(
        variant=str(run["rival"]),
        round=int(run["round"]),
        wall_s=float(run["wall_s"]),
        busy_s=float(run["busy_s"]),
        rest=float(run["rest"]),
        steps={str(name): (float(start), float(end)) for name, (start, end) in run["steps"].items()},
        critical_path=tuple(run["critical_path"]),
    )
