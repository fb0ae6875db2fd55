"""What every task takes on its command line, and what of it has no meaning together."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.errors import BadInput

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
