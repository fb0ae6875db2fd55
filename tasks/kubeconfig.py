"""The cluster's entry in the user's own kubeconfig."""

from __future__ import annotations

from pathlib import Path

from tasks.cluster.plan import READY
from tasks.engine.step import Action, Context, Report, Step
from tasks.situation import Situation

TASK = "cluster"
MERGE, SWITCH = "cluster: entry in your kubeconfig", "cluster: switch your kubeconfig to it"


def context_name(cluster: str) -> str:
    """As k3d names it."""
    return f"k3d-{cluster}"


def _target(situation: Situation) -> Path:
    from tasks.tools.kubeconfig import target

    return target(situation.environ, Path(situation.environ.get("HOME") or Path.home()))


def steps(situation: Situation, last: tuple[str, ...]) -> list[Step]:
    """Merge when the API answers; switch when everything else has ended well."""
    wishes = situation.settings.kubeconfig
    off = "kubeconfig.merge is false"
    merge_skip = None if wishes.merge else off
    switch_skip = off if not wishes.merge else None if wishes.switch else "kubeconfig.switch is false"
    if merge_skip is None and situation.live is not None:
        merged, current = _state(situation)
        merge_skip = f"{_target(situation)} has it" if merged else None
        if switch_skip is None and current:
            switch_skip = "it is the current context"
    return [
        Step(
            name=MERGE,
            task=TASK,
            action=_merge(situation),
            needs=(READY,),
            skip=merge_skip,
            why=str(_target(situation)),
            expected=0.05,
        ),
        Step(
            name=SWITCH,
            task=TASK,
            action=_switch(situation),
            needs=(MERGE, *last),
            skip=switch_skip,
            why="everything before has ended well",
            expected=0.05,
        ),
    ]


def _state(situation: Situation) -> tuple[bool, bool]:
    """Whether the user's file has the entry as it should be, and whether it is the current one."""
    from tasks.tools.kubeconfig import current_context, has_entry

    path = _target(situation)
    entry = situation.folders.kubeconfig.read_text() if situation.folders.kubeconfig.exists() else ""
    return has_entry(path, entry), current_context(path) == context_name(situation.name)


def _merge(situation: Situation) -> Action:
    def act(_context: Context) -> Report | None:
        from tasks.tools.kubeconfig import merge

        path = _target(situation)
        changed = merge(path, situation.folders.kubeconfig.read_text())
        return Report(why=f"{path}" if changed else f"{path} has it", skipped=not changed)

    return act


def _switch(situation: Situation) -> Action:
    def act(_context: Context) -> Report | None:
        from tasks.tools.kubeconfig import switch

        changed = switch(_target(situation), context_name(situation.name))
        return Report(why=context_name(situation.name), skipped=not changed)

    return act
