"""k3d's command lines. Their parameters are in a generated config file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tasks.clients.docker import DEFAULT_PLATFORM
from tasks.process.command import Command, duration, repeated

DOLLAR = "OPENFRAME_DOLLAR"
"""k3d expands `$NAME` in its whole config file (k3d: `InitViperWithConfigFile`): this variable yields a `$`."""
_PASSED = ("K3D_FIX_", "K3D_IMAGE_", "K3D_DEBUG_")
_PASSED_WHOLE = ("K3D_HELPER_IMAGE_TAG", "K3D_LOG_NODE_WAIT_LOGS")


def environment(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The environment for k3d.

    It reads every other `K3D_…` variable as an override of its config file (viper), including this project's;
    it writes the nodes' /proc/meminfo below the user's config folder, and leaves files in TMPDIR: both
    are set to folders of this cluster.
    """
    passed = {
        key: value
        for key, value in environ.items()
        if not key.startswith("K3D_") or key.startswith(_PASSED) or key in _PASSED_WHOLE
    }
    for name in ("KUBECONFIG", DEFAULT_PLATFORM):
        passed.pop(name, None)
    return {**passed, "XDG_CONFIG_HOME": str(folder / "config"), "TMPDIR": str(folder / "tmp"), DOLLAR: "$"}


def create(config: Path, deadline: float) -> Command:
    """Create the cluster in a v1alpha5 file. Mostly waits."""
    return Command(argv=("k3d", "cluster", "create", "--config", str(config)), deadline=deadline)


def start(name: str, timeout: float) -> Command:
    """Start a stopped cluster."""
    return Command(argv=("k3d", "cluster", "start", name, "--timeout", duration(timeout)), deadline=timeout + 15)


def add_agent(
    cluster: str,
    node: str,
    *,
    memory: str | None,
    timeout: float,
    labels: Mapping[str, str] | None = None,
    args: Sequence[str] = (),
) -> Command:
    """Add one agent, which k3d names `k3d-NODE-0`.

    It copies arguments and labels of an existing agent. If there is none yet, it copies a server, without the
    server's own: then `labels` of the node and `args` of k3s must be given (k3d: `client.NodeAddToCluster`).
    """
    own = repeated("--k3s-node-label", (f"{key}={value}" for key, value in (labels or {}).items()))
    argv = (
        *("k3d", "node", "create", node, "--cluster", cluster, "--role", "agent"),
        *(("--memory", memory) if memory else ()),
        *own,
        *repeated("--k3s-arg", args),
        *("--timeout", duration(timeout)),
    )
    return Command(argv=argv, deadline=timeout + 15)
