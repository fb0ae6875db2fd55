"""Which view a run gets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tasks.view.view import Launch, Silent, View


def choose(launch: Launch, environ: Mapping[str, str], *, stdout_isatty: bool, silent: bool) -> View:
    """The view for this environment. Raises `PlanError` for a plan that cannot run.

    GITHUB_ACTIONS=true is set by GitHub's runners, CI by nearly all others: a terminal that nobody looks
    at gets plain lines. TERM=dumb cannot move its cursor.
    """
    if silent:
        return Silent(launch)
    if environ.get("GITHUB_ACTIONS") == "true":
        from tasks.view.github import GitHub

        file = environ.get("GITHUB_STEP_SUMMARY")
        return GitHub(launch, summary_file=Path(file) if file else None)
    if stdout_isatty and environ.get("TERM", "") != "dumb" and environ.get("CI", "").lower() not in ("true", "1"):
        from tasks.view.live import Live

        return Live(launch)
    from tasks.view.plain import Plain

    return Plain(launch)
