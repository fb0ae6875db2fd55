"""The stand-in for k3d: its commands, and what it says of those that it does not know."""

from __future__ import annotations

from tasks.rehearsal import flags
from tasks.rehearsal.call import Exit
from tasks.rehearsal.place import VERSIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.rehearsal.call import Call
    from tasks.rehearsal.flags import Given

_GLOBAL = "verbose trace timestamps"
_CREATE = (
    "config,c=s api-port=s env,e=l volume,v=l port,p=l k3s-node-label=l runtime-label=l runtime-ulimit=l "
    "registry-create=s enforce-registry-port-match host-alias=l k3s-arg=l servers,s=i agents,a=i image,i=s network=s "
    "subnet=s token=s wait timeout=d kubeconfig-update-default kubeconfig-switch-context no-lb no-rollback gpus=s "
    "servers-memory=s agents-memory=s host-pid-mode no-image-volume registry-use=l registry-config=s "
    "lb-config-override=l"
)
_COMMANDS: dict[str, tuple[str, str]] = {
    "cluster create": ("k3d_create", _CREATE),
    "cluster start": ("k3d_cluster", "all,a wait timeout=d"),
    "cluster stop": ("k3d_cluster", "all,a"),
    "cluster delete": ("k3d_cluster", "all,a config,c=s"),
    "cluster list": ("k3d_cluster", "no-headers output,o=s token"),
    "node create": (
        "k3d_create",
        (
            "replicas=i role=s cluster,c=s image,i=s memory=s timeout=d wait runtime-label=l runtime-ulimit=l "
            "k3s-node-label=l network,n=l token,t=s k3s-arg=l"
        ),
    ),
}
"""Module and flags of each (k3d 5.9: `cmd/`)."""


def k3d(call: Call) -> None:
    """Raises `Exit`."""
    args = list(call.args)
    if args in (["version"], ["--version"]):
        call.say(f"k3d version {VERSIONS['k3d']} (REHEARSAL)\nk3s version v1.35.5-k3s1 (default)")
        return
    name = " ".join(args[:2])
    if name not in _COMMANDS:
        raise Exit(1, f'FATA[0000] unknown command "{args[0] if args else ""}" for "k3d"')
    module, known = _COMMANDS[name]
    try:
        given = flags.read(args[2:], flags.table(f"{known} {_GLOBAL}"))
    except flags.Wrong as wrong:
        raise Exit(1, f"Error: {wrong}\nUsage:\n  k3d {name} [flags]\n\nFATA[0000] {wrong}") from None
    _act(module, name)(call, given)


def _act(module: str, name: str) -> Callable[[Call, Given], None]:
    from importlib import import_module

    found: Callable[[Call, Given], None] = import_module(f"tasks.rehearsal.{module}").COMMANDS[name]
    return found
