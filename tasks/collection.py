"""All tasks, as invoke shows them: the doors of `tasks.doors`."""

from __future__ import annotations

from invoke.collection import Collection

from tasks.doors import around, part, whole
from tasks.run.task import ROOT


def _collection() -> Collection:
    """The namespace; a broken invoke.yaml is told here, since invoke itself would show a traceback."""
    made = Collection()
    for each in (
        whole.up,
        whole.down,
        whole.plan,
        whole.status,
        whole.doctor,
        part.prepull,
        part.registry,
        part.cluster,
        part.namespaces,
        part.secrets,
        part.manifests,
        part.helm,
        part.health,
        around.docker_tune,
        around.rehearse,
        around.report,
        around.bench,
        around.config,
    ):
        made.add_task(each)
    made.configure({"run": {"echo": False}})
    return made


def _check_file() -> None:
    """The one effect of this import: invoke reads invoke.yaml next, and a broken one is a traceback of its own."""
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


_check_file()
ns = _collection()
