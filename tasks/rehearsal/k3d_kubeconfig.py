"""The entry that k3d puts into the default kubeconfig at the end of a creation, unless that is off."""

from __future__ import annotations

import os
from pathlib import Path

from tasks.rehearsal import containers, k3d_config
from tasks.rehearsal.place import MARK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tasks.rehearsal.call import Call
    from tasks.rehearsal.k3d_config import Config


def update_default(call: Call, config: Config, name: str) -> None:
    """Write the first file of KUBECONFIG; one that does not come from a rehearsal is left alone."""
    path = call.environ.get("KUBECONFIG", "").split(":")[0]
    if not path or k3d_config.at(config, "options.kubeconfig.updateDefaultKubeconfig") is False:
        return
    file = Path(path)
    if file.exists() and MARK not in file.read_text(encoding="utf-8"):
        return
    found = containers.labelled(call.engine.read(), cluster=name)
    ports = {rows[0]["HostPort"] for each in found if (rows := each["ports"].get("6443/tcp"))}
    server = next((each for each in found if each["labels"].get("k3d.role") == "server"), None)
    if server is None or not ports:
        return
    from tasks.rehearsal.docker_copy import kubeconfig

    text = kubeconfig(call, server).replace("127.0.0.1:6443", f"127.0.0.1:{min(ports)}")
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    fresh.write_text(text.replace(": default\n", f": k3d-{name}\n"), encoding="utf-8")
    fresh.chmod(0o600)
    fresh.replace(file)
