"""The stand-in for helm: its commands and flags, those of version 4 with what remains of version 3."""

from __future__ import annotations

from tasks.rehearsal import flags
from tasks.rehearsal.call import Exit
from tasks.rehearsal.place import VERSIONS
from tasks.rehearsal.reaching import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.rehearsal.call import Call
    from tasks.rehearsal.flags import Given

_GLOBAL = (
    "kubeconfig=s kube-context=s namespace,n=s debug repository-config=s repository-cache=s registry-config=s "
    "kube-apiserver=s kube-token=s burst-limit=i qps=f content-cache=s color=s"
)
_CHART = "version=s repo=s username=s password=s devel verify keyring=s insecure-skip-tls-verify plain-http ca-file=s"
_VALUES = "values,f=l set=l set-string=l set-file=l set-json=l"
_INSTALL = (
    f"{_CHART} {_VALUES} create-namespace dry-run=s timeout=d wait wait-for-jobs labels,l=l description=s output,o=s "
    "atomic rollback-on-failure no-hooks skip-crds disable-openapi-validation take-ownership force-replace "
    "force-conflicts server-side=s reset-values reuse-values history-max=i post-renderer=s dependency-update"
)
_COMMANDS: dict[str, tuple[str, str]] = {
    "repo add": ("helm_charts", "force-update username=s password=s no-update allow-deprecated-repos ca-file=s"),
    "repo update": ("helm_charts", "fail-on-repo-update-fail timeout=d"),
    "repo list": ("helm_charts", "output,o=s"),
    "pull": ("helm_charts", f"{_CHART} destination,d=s untar untardir=s prov"),
    "template": (
        "helm_charts",
        (
            f"{_CHART} {_VALUES} include-crds kube-version=s api-versions,a=l name-template=s no-hooks skip-crds "
            "skip-tests show-only,s=l validate is-upgrade"
        ),
    ),
    "upgrade": ("helm_releases", f"install,i {_INSTALL}"),
    "install": ("helm_releases", f"{_INSTALL} generate-name,g replace name-template=s"),
    "uninstall": ("helm_releases", "ignore-not-found timeout=d wait keep-history no-hooks dry-run cascade=s"),
    "rollback": ("helm_releases", "timeout=d wait no-hooks cleanup-on-fail history-max=i dry-run=s"),
    "list": ("helm_releases", "all-namespaces,A all,a output,o=s short,q filter,f=s pending deployed failed"),
    "status": ("helm_releases", "output,o=s revision=i"),
    "history": ("helm_releases", "output,o=s max=i"),
}
"""Module and flags of each (Helm 4.1: `pkg/cmd/`)."""


_EXACTLY = {"repo add": 2, "pull": 1, "template": 2, "upgrade": 2, "install": 2, "status": 1, "history": 1}
_AT_LEAST = {"uninstall": 1, "rollback": 1}


def _counted(name: str, count: int) -> None:
    """Helm's words for too few or too many arguments. Raises `Exit`."""
    exactly, least = _EXACTLY.get(name), _AT_LEAST.get(name, 0)
    if (exactly is None or count == exactly) and count >= least:
        return
    wanted, word = (exactly, "") if exactly is not None else (least, "at least ")
    several = "" if wanted == 1 else "s"
    raise Exit(1, f'Error: "helm {name}" requires {word}{wanted} argument{several}\n\nUsage:  helm {name} [flags]')


def helm(call: Call) -> None:
    """Raises `Exit`."""
    args = list(call.args)
    if args[:1] == ["version"]:
        call.say(f"{VERSIONS['helm']}+gREHEARSAL")
        return
    name = next((each for each in _COMMANDS if args[: len(each.split())] == each.split()), "")
    if not name:
        raise Exit(1, f'Error: unknown command "{args[0] if args else ""}" for "helm"\nRun \'helm --help\' for usage.')
    module, known = _COMMANDS[name]
    try:
        given = flags.read(args[len(name.split()) :], flags.table(f"{known} {_GLOBAL}"))
    except flags.Wrong as wrong:
        raise Exit(1, f"Error: {wrong}") from None
    _counted(name, len(given.args))
    try:
        _act(module, name)(call, given)
    except Refused as refused:
        raise Exit(1, f"Error: {refused.message}") from None


def _act(module: str, name: str) -> Callable[[Call, Given], None]:
    from importlib import import_module

    found: Callable[[Call, Given], None] = import_module(f"tasks.rehearsal.{module}").COMMANDS[name]
    return found
