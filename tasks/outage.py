"""An API that goes silent under a step: it is waited for before the step is tried again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.errors import LaunchError

if TYPE_CHECKING:
    from tasks.engine.step import Context
    from tasks.situation import Situation


class Silent(LaunchError):
    """The API has gone silent in the middle of a launch, and has not come back."""


def answers_again(situation: Situation, context: Context) -> None:
    """Before another attempt: wait until the API is ready, at most `timeouts.api` seconds.

    A server whose k3s has ended is started again by the engine, and is back after some seconds: longer than the pauses
    between attempts. Raises `Silent`, with what is known of the nodes, and
    `ApiError` where the API that is back refuses this login.
    """
    if context.attempt == 1:
        return
    from tasks.tools.kubeapi import NotInTime, until_ready

    seconds = min(context.deadline, situation.settings.timeouts.api)
    try:
        until_ready(situation.api, replace(context, deadline=seconds))
    except NotInTime:
        ended = "; ".join(situation.handover.ended.values())
        raise Silent(
            f"the API of the cluster '{situation.name}' went silent, and was not back within {seconds:g} s",
            why=ended or "its nodes' containers run",
            fix=f"docker logs k3d-{situation.name}-server-0 tells why; `invoke up` goes on from here"
            if situation.engine != "existing"
            else "ask those who run the cluster; `invoke up --engine existing` goes on from here",
        ) from None
