"""All tasks as invoke's namespace."""

from __future__ import annotations

from invoke.collection import Collection

from tasks.bench import bench
from tasks.cluster import cluster
from tasks.config import config
from tasks.docker_tune import docker_tune
from tasks.doctor import doctor
from tasks.down import down
from tasks.health import health
from tasks.helm import helm
from tasks.manifests import manifests
from tasks.namespaces import namespaces
from tasks.plan import plan
from tasks.prepull import prepull
from tasks.registry import registry
from tasks.rehearse import rehearse
from tasks.report import report
from tasks.run.task import ROOT
from tasks.secrets import secrets
from tasks.status import status
from tasks.up import up


def _check_settings_file() -> None:
    """The one effect of this import: invoke reads invoke.yaml next, and shows a traceback for a broken one."""
    if not (ROOT / "invoke.yaml").exists():
        return
    import os
    import sys

    from tasks.core.errors import LaunchError
    from tasks.core.redact import redact
    from tasks.settings.resolve import check_invoke_yaml

    try:
        check_invoke_yaml(ROOT, os.environ)
    except LaunchError as error:
        sys.stderr.write(f"{redact(str(error))}\n")
        raise SystemExit(error.status) from None


_check_settings_file()
ns = Collection(
    up,
    down,
    plan,
    status,
    doctor,
    prepull,
    registry,
    cluster,
    namespaces,
    secrets,
    manifests,
    helm,
    health,
    docker_tune,
    rehearse,
    report,
    bench,
    config,
)
ns.configure({"run": {"echo": False}})
