"""The backend of a rehearsal: the cluster's API and the registries in the rehearsal's state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tasks.rehearsal.place import Place
from tasks.settings.step_names import PARTS

if TYPE_CHECKING:
    from tasks.core.imageref import Reference
    from tasks.engine.step import Context
    from tasks.kube.client import Api
    from tasks.process.command import Programs


class Rehearsed:
    """See `tasks.facts.backend.Backend`."""

    name = "rehearsal"
    owns_cluster = True
    rehearsed = True
    parts: tuple[str, ...] = PARTS
    needs_programs: tuple[str, ...] = ()

    def __init__(self, place: Place) -> None:
        self._place = place

    def api(self, kubeconfig: Path, programs: Programs) -> Api:
        """Of a rehearsed cluster. Raises `ApiError` for a kubeconfig of any other: a rehearsal touches nothing real."""
        from tasks.kube.client import ApiError
        from tasks.rehearsal.api import recognise

        del programs
        found = recognise(kubeconfig.read_text(encoding="utf-8"))
        if found is None:
            raise ApiError(0, f"{kubeconfig} is of no rehearsed cluster", "a rehearsal reaches nothing real")
        return found

    def server_answers(self, host: str, port: int) -> bool:
        """Whether a rehearsed server has come so far."""
        from tasks.rehearsal.kube import Kube

        del host
        return Kube(self._place).answers(port)

    def http_status(self, address: str, port: int, host: str, path: str) -> int:
        """Well: nothing listens at a rehearsed port."""
        del address, port, host, path
        return 200

    def registry_answers(self, port: int, context: Context, seconds: float) -> bool:
        """At once: `docker run` of the stand-in takes the time that a registry needs."""
        del port, context, seconds
        return True

    def cache_fault(self, port: int, image: Reference) -> str:
        """A line that is down is not rehearsed, and without its cache a rehearsed node asks the registry itself."""
        del port, image
        return ""

    def layers(self, port: int, image: Reference, arch: str, context: Context) -> dict[str, int]:
        """None: of a rehearsed image only the whole has a size."""
        del port, image, arch, context
        return {}

    def fetch(self, port: int, image: Reference, arch: str, context: Context) -> int:
        """Takes its time, once for each image. Raises `NotFetched` where no registry runs at that port."""
        from tasks.clients.registry_http import NotFetched
        from tasks.rehearsal.registry_contents import keep

        del arch
        seconds, size = keep(self._place, port, image)
        if seconds is None:
            raise NotFetched(f"the cache at 127.0.0.1:{port} does not answer", why="it does not run")
        context.wait(seconds)
        return size
