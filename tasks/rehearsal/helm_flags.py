"""Flags of Helm's commands, of version 3 apart from those of version 4 (`pkg/cmd/` of 4.1.4, `cmd/helm/` of 3.19.0)."""

from __future__ import annotations

_GLOBAL = (
    "kubeconfig=s kube-context=s namespace,n=s debug repository-config=s repository-cache=s registry-config=s "
    "kube-apiserver=s kube-token=s kube-as-user=s kube-as-group=l kube-ca-file=s kube-tls-server-name=s "
    "kube-insecure-skip-tls-verify burst-limit=i qps=f"
)
_LOGIN = "username=s password=s cert-file=s key-file=s insecure-skip-tls-verify ca-file=s pass-credentials"
_CHART = f"version=s verify keyring=s repo=s plain-http {_LOGIN}"
_VALUES = "values,f=l set=l set-string=l set-file=l set-json=l set-literal=l"
_INSTALL = (
    f"{_CHART} {_VALUES} create-namespace dry-run=o hide-secret force no-hooks timeout=d wait=o wait-for-jobs devel "
    "labels,l=l description=s output,o=s dependency-update disable-openapi-validation atomic skip-crds "
    "render-subchart-notes skip-schema-validation enable-dns hide-notes take-ownership post-renderer=s "
    "post-renderer-args=l"
)
_BOTH = {
    "repo add": f"{_LOGIN} password-stdin force-update allow-deprecated-repos",
    "repo update": "",
    "repo list": "output,o=s",
    "pull": f"{_CHART} devel untar untardir=s prov destination,d=s",
    "template": (
        f"{_INSTALL} show-only,s=l output-dir=s validate include-crds skip-tests is-upgrade kube-version=s "
        "api-versions,a=l release-name replace generate-name,g name-template=s"
    ),
    "upgrade": f"{_INSTALL} install,i reset-values reuse-values reset-then-reuse-values history-max=i cleanup-on-fail",
    "install": f"{_INSTALL} replace generate-name,g name-template=s",
    "package": (
        "destination,d=s version=s app-version=s dependency-update,u sign key=s keyring=s passphrase-file=s "
        f"plain-http {_LOGIN}"
    ),
    "dependency list": "max-col-width=i",
    "uninstall": "dry-run no-hooks ignore-not-found keep-history wait=o cascade=s timeout=d description=s",
    "rollback": "dry-run=o force no-hooks timeout=d wait=o wait-for-jobs cleanup-on-fail history-max=i",
    "list": (
        "short,q no-headers time-format=s date,d reverse,r uninstalled superseded uninstalling deployed failed pending "
        "all-namespaces,A max,m=i offset=i filter,f=s selector,l=s output,o=s"
    ),
    "status": "revision=i output,o=s",
    "history": "max=i output,o=s",
}
_FOUR = {
    "": "content-cache=s color=s colour=s",
    "repo add": "timeout=d",
    "repo update": "timeout=d",
    "template": "force-replace force-conflicts server-side rollback-on-failure",
    "upgrade": "force-replace force-conflicts server-side=s rollback-on-failure",
    "install": "force-replace force-conflicts server-side rollback-on-failure",
    "rollback": "force-replace force-conflicts server-side=s",
}
"""What version 4 has added; `force` and `atomic` it still takes, and calls deprecated."""
_THREE = {
    "repo add": "no-update",
    "repo update": "fail-on-repo-update-fail",
    "upgrade": "recreate-pods",
    "rollback": "recreate-pods",
    "list": "all,a",
    "status": "show-desc show-resources",
}
"""What version 4 has no longer."""
COMMANDS = tuple(_BOTH)


def known(command: str, major: int) -> str:
    """The flags of a command, as `tasks.rehearsal.flags` reads such a table."""
    own = _FOUR if major >= 4 else _THREE
    return " ".join((_BOTH[command], own.get(command, ""), _GLOBAL, own.get("", "")))
