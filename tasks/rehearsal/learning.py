"""`invoke rehearse --learn RUN`: a time profile from recorded launches of this machine."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.errors import BadInput
from tasks.core.units import MB
from tasks.engine.record import RunRecord
from tasks.engine.work import FetchImages, PullImage
from tasks.rehearsal.fitting import fit, predicted
from tasks.rehearsal.model import AFTER
from tasks.rehearsal.profile import FOLDER, Profile, dump, load
from tasks.rehearsal.recorded import Recorded, recorded
from tasks.rehearsal.what_if import DEFAULT

if TYPE_CHECKING:
    from tasks.run.session import Session

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def learn(session: Session, runs: Sequence[str], name: str) -> int:
    """Fit the profile's figures to these runs, and keep it under a name. Raises `BadInput`."""
    from tasks.core.files import write_whole
    from tasks.runs.catalogue import find, read
    from tasks.view.console import out

    name = name or DEFAULT
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"--timing is '{name}'",
            why="it becomes the name of a file: small letters, digits and hyphens",
            fix="such as laptop-8-cores",
        )
    path = session.root / FOLDER / f"{name}.yaml"
    log_dir = Path(session.settings.log_dir).expanduser()
    found = [read(find(log_dir, each)) for each in runs]
    launches = [_launch(each) for each in found]
    profile = named(fit(launches, load(session.root, DEFAULT)), found)
    write_whole(path, dump(profile), mode=0o644)
    took = statistics.median(launch.wall for launch in launches)
    told = statistics.median(predicted(profile, launch)[AFTER] for launch in launches)
    out([f"{path}: {len(launches)} launches took {took:.1f} s (median), and are told as {told:.1f} s"])
    return 0


def _launch(run: RunRecord) -> Recorded:
    launch = recorded(run) if run.engine == "k3d" else None
    if launch is None:
        raise BadInput(
            f"{run.name} is no launch to learn from",
            why="that is a run of `up` on k3d which made a cluster and ended well, recorded with the work of its steps",
            fix="name others: invoke report --history --run up lists them",
        )
    return launch


def named(profile: Profile, runs: Sequence[RunRecord]) -> Profile:
    """With what it rests on."""
    newest = max(runs, key=lambda run: run.started)
    system = newest.system
    rests = {
        "launches": len(runs),
        "date": f"{newest.started:%Y-%m-%d}",
        **{key: str(system[key]) for key in ("docker", "k3d", "k3s_image") if system.get(key)},
    }
    sized = {**profile.image_mb, **sizes(runs)}
    return replace(profile, recorded=rests, cores=float(system.get("cpus") or profile.cores), image_mb=sized)


def sizes(runs: Sequence[RunRecord]) -> dict[str, float]:
    """MB that came of images, where a record tells: of the node image, and of a workload's on the average."""
    nodes, workloads = list[float](), list[float]()
    for work in (result.work for run in runs for result in run.results):
        match work:
            case PullImage(node=True, bytes=size) if size:
                nodes.append(size / MB)
            case FetchImages(images=images, bytes=size) if size and images:
                workloads += [size / MB / images] * images
    found = {"k3s": nodes, "workload": workloads}
    return {kind: round(sum(each) / len(each), 1) for kind, each in found.items() if each}
