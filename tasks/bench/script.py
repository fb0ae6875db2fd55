"""The bash script of the same commands: what a comparison mode does, to be read, and to be run beside it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

from tasks.bench.commands import Act, Stage

_SHOWN = ("HELM_", "K3D_", "KUBECONFIG", "XDG_", "TMPDIR", "OPENFRAME_REHEARSAL")


def script(stages: Sequence[Stage], environ: Mapping[str, str], *, together: bool) -> list[str]:
    """Lines of bash; `together`: those of a stage at the same time, each waited for by its own pid."""
    return [
        "#!/usr/bin/env bash",
        "set -euo pipefail",
        *(f"export {key}={shlex.quote(environ[key])}" for key in sorted(environ) if key.startswith(_SHOWN)),
        f"export PATH={shlex.quote(environ.get('PATH', ''))}",
        *(line for stage in stages for line in _stage(stage, together=together)),
    ]


def _stage(stage: Stage, *, together: bool) -> Iterator[str]:
    yield f"# {stage.name}"
    if not together:
        yield from (_line(act) for act in stage.acts)
        return
    yield "pids=()"
    for act in stage.acts:
        yield f"{_line(act)} & pids+=($!)"
    yield 'for pid in "${pids[@]}"; do wait "$pid"; done'


def _line(act: Act) -> str:
    text = act.command.paste()
    return f"({text}) >/dev/null" if act.command.cwd is not None else f"{text} >/dev/null"
