"""A call of a task whose programs are fakes."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from tasks.process.command import Programs
from tasks.run.session import Session
from tasks.run.task import Options
from tasks.settings.schema import Settings
from tests.checks.given import GIB, ROOT
from tests.facts.docker_info import LINUX

INFO: dict[str, Any] = {**LINUX, "CgroupVersion": "2", "NCPU": 8, "MemTotal": 16 * GIB, "Name": "elsewhere"}
K3D = "k3d version v5.9.0\nk3s version v1.35.5-k3s1 (default)\n"
KUBECTL = json.dumps({"clientVersion": {"gitVersion": "v1.33.13"}})
HELM = "v4.1.4+g0b8d9b4\n"


@dataclass(kw_only=True)
class FakeSession(Session):
    """With programs that were given."""

    fake: Programs

    def programs(self) -> Programs:
        return self.fake


def session(
    folder: Path,
    programs: Programs,
    *,
    settings: Settings | None = None,
    engine: str = "k3d",
    context: str | None = None,
) -> FakeSession:
    """Its root has the project's pins, its state is in `folder`."""
    (folder / "config").mkdir(exist_ok=True)
    shutil.copy(ROOT / "config" / "pins.yaml", folder / "config")
    return FakeSession(
        options=Options(task="doctor", engine=engine, context=context),
        root=folder,
        environ={"XDG_STATE_HOME": str(folder / "state"), "HOME": str(folder)},
        resolved=cast("Any", SimpleNamespace(settings=settings or Settings())),
        started=datetime.now(UTC),
        now=time.monotonic(),
        fake=programs,
    )
