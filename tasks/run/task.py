"""From a function to an invoke task: common options, one place where errors become exit codes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task, task

from tasks.core.errors import BadInput

ROOT = Path(__file__).resolve().parents[2]
"""The project's folder: configuration, files and fetched programs are below it."""

_COMMON: Mapping[str, tuple[Any, str]] = {
    "profile": (None, "profile under config/, or a path of yours (default: OPENFRAME_PROFILE, then invoke.yaml)"),
    "set": ([], "set any setting: --set path=value; can be given again"),
    "engine": ("k3d", "k3d; existing: a cluster that is there, with --context; rehearsal: nothing real is made"),
    "context": (None, "with --engine existing: the context's name in your kubeconfig"),
    "keep_going": (False, "after a failure, let run what does not depend on it"),
    "wait_lock": (False, "wait while another run is at work on this cluster"),
}
Body = Callable[..., int | None]


def door(
    *common: str,
    help: Mapping[str, str] | None = None,  # noqa: A002 - invoke's own name
    engine: str = "k3d",
) -> Callable[[Body], Task[Any]]:
    """Make a task of `body(session, **own options)`; `common`: which common options it takes, all if none is named.

    `engine`: where the launch goes if no option says it.
    """
    names = tuple(common) or tuple(_COMMON)

    def decorate(body: Body) -> Task[Any]:
        own = list(inspect.signature(body).parameters.values())[1:]

        def call(_context: Context, **given: Any) -> None:
            from tasks.run.session import guarded

            shared = {name: given.pop(name, _COMMON[name][0]) for name in names}
            options = Options(
                task=body.__name__.rstrip("_").replace("_", "-"),
                profile=shared.get("profile"),
                sets=tuple(shared.get("set") or ()),
                engine=shared.get("engine") or engine,
                context=shared.get("context"),
                keep_going=bool(shared.get("keep_going")),
                wait_lock=bool(shared.get("wait_lock")),
            )
            status = guarded(options, ROOT, lambda session: body(session, **given))
            if status:
                raise Exit(code=status)

        call.__name__, call.__doc__ = body.__name__, body.__doc__
        call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter("context_", inspect.Parameter.POSITIONAL_OR_KEYWORD),
                *(p.replace(annotation=inspect.Parameter.empty) for p in own),
                *(
                    inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=_COMMON[name][0])
                    for name in names
                ),
            ]
        )
        told = {**{name: _COMMON[name][1] for name in names}, **(help or {})}
        made: Task[Any] = task(
            name=body.__name__.rstrip("_").replace("_", "-"),
            iterable=_iterable(own, names),
            help=told,
            auto_shortflags=False,
        )(call)
        return made

    return decorate


def _iterable(own: Sequence[inspect.Parameter], names: Sequence[str]) -> list[str]:
    lists = [parameter.name for parameter in own if isinstance(parameter.default, list)]
    return [*lists, *(name for name in names if isinstance(_COMMON[name][0], list))]


ENGINES = ("k3d", "existing", "rehearsal")
_MAKING = ("prepull", "registry", "cluster", "rehearse")
"""Tasks that are about what a cluster is made from."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every task takes on its command line."""

    task: str
    profile: str | None = None
    sets: tuple[str, ...] = ()
    engine: str = "k3d"
    context: str | None = None
    keep_going: bool = False
    wait_lock: bool = False

    @property
    def owns_cluster(self) -> bool:
        """Whether this project makes and removes the cluster, real or not."""
        return self.engine != "existing"


def refuse(options: Options) -> None:
    """Raises `BadInput` for options that have no meaning together."""
    if options.engine not in ENGINES:
        raise BadInput(
            f"--engine is '{options.engine}'",
            why="the engine says where the launch goes",
            fix=f"use one of: {', '.join(ENGINES)}",
        )
    if options.engine == "existing" and options.task in _MAKING:
        raise BadInput(
            f"--engine existing has no meaning for `{options.task}`",
            why="on an existing cluster no image, registry or node is this project's to make",
            fix="leave --engine out; namespaces, secrets, manifests, helm and health work there",
        )
    if options.engine == "existing" and not options.context:
        raise BadInput(
            "--engine existing needs --context NAME",
            why="the current context is never taken: it may be somebody's production",
            fix="kubectl config get-contexts shows the names",
        )
    if options.engine != "existing" and options.context:
        raise BadInput(
            f"--context {options.context} has no meaning with the engine {options.engine}",
            why="this engine uses the private kubeconfig of its own cluster",
            fix="add --engine existing, or leave --context out",
        )
