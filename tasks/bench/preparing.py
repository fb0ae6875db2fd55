"""What is done before and after a launch, and not timed: caches brought into the state that was asked for."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tasks.bench.driving import task
from tasks.bench.place import Place
from tasks.bench.rival import Rival
from tasks.errors import BadInput
from tasks.tools import docker
from tasks.tools.program import Command, Programs

if TYPE_CHECKING:
    from tasks.situation import Situation


def refuse_existing(place: Place) -> None:
    """Never the cluster of somebody's work. Raises `BadInput`."""
    if place.session.programs().run(docker.containers(f"{docker.CLUSTER_LABEL}={place.cluster}")).out.split():
        raise BadInput(
            f"there is a cluster '{place.cluster}' already",
            why="bench makes and removes the cluster that it measures; this one it did not make",
            fix=f"--cluster NAME takes another name; or, if nobody needs it: k3d cluster delete {place.cluster}",
        )


def remove_cluster(place: Place) -> None:
    """The cluster of the last launch, whichever way it was made, and its private files."""
    programs = place.session.programs()
    if programs.run(docker.containers(f"{docker.CLUSTER_LABEL}={place.cluster}")).out.split():
        argv = ("k3d", "cluster", "delete", place.cluster)
        Programs(folder=programs.folder, env=place.environ).run(Command(argv=argv, deadline=180.0))
    shutil.rmtree(place.session.folders.state, ignore_errors=True)
    place.kubeconfig.unlink(missing_ok=True)


def remove_caches(place: Place) -> None:
    """Registries, charts and Helm's files, those of bench alone."""
    from tasks.registry import wanted

    programs, names = place.session.programs(), tuple(wanted(place.session.settings))
    for name in names:
        programs.run(Command(argv=docker.remove([name]).argv, deadline=120.0, ok=(0, 1)))
        programs.run(Command(argv=docker.remove_volumes([name]).argv, deadline=120.0, ok=(0, 1)))
    shutil.rmtree(place.session.folders.cache, ignore_errors=True)
    shutil.rmtree(place.helm, ignore_errors=True)


def remove_images(place: Place, images: Iterable[str]) -> None:
    """Images of the launch from the engine; those that a container uses stay (code 1)."""
    programs = place.session.programs()
    for image in images:
        programs.run(Command(argv=("docker", "rmi", image), deadline=120.0, ok=(0, 1)))


def prepare(place: Place, rival: Rival, situation: Situation) -> None:
    """Caches as the state wants them; whether they are filled is for the caller to see to."""
    if rival.state == "cold":
        remove_caches(place)
    if rival.state == "second":
        shutil.rmtree(place.helm, ignore_errors=True)
    if rival.state in ("cold", "second"):
        remove_images(place, situation.images)
    if rival.mode != "graph" and (_has_login(place) or situation.shape.network.mark):
        place.session.programs().run(task(place, "registry"))
    if rival.mode == "create":
        place.session.programs().run(task(place, "registry"))


def _has_login(place: Place) -> bool:
    return any(each.username_env or each.password_env for each in place.session.settings.registries.caches)
