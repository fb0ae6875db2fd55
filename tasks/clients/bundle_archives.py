"""Archives for a bundle: the bundle itself, input for `docker load`, and a registry's storage."""

import contextlib
import hashlib
import json
import os
import tarfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

from tasks.clients.bundle import INDEX, LAYOUT, LOCK, Bundle, Lock, member
from tasks.core.errors import LaunchError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_BLOCK, _END = 512, b"\0" * 1024


def engine_archive(bundle: Bundle, names: Collection[str], out: IO[bytes]) -> None:
    """Write an archive for `docker load`: these images under their names, each layer once.

    (moby: `image/tarexport`; containerd's store reads manifest.json too.)
    """
    listed, blobs = [], dict[str, None]()
    for name in names:
        config, *layers = bundle.parts(bundle.lock.images[name])
        blobs |= dict.fromkeys((config, *layers))
        listed.append({"Config": member(config), "RepoTags": [name], "Layers": [member(each) for each in layers]})
    _write(out, "manifest.json", json.dumps(listed).encode())
    for digest in blobs:
        _copy(bundle, out, member(digest), digest)
    out.write(_END)


def registry_archive(bundle: Bundle, images: Mapping[str, tuple[str, str]], out: IO[bytes]) -> None:
    """Write the storage of a registry: images with their repository and tag ("": by digest only).

    (distribution: `registry/storage/paths.go`)
    """
    blobs, links = dict[str, None](), dict[str, str]()
    for name, (repository, tag) in images.items():
        image = bundle.lock.images[name]
        parts = bundle.parts(image)
        blobs |= dict.fromkeys((image.digest, image.manifest, *parts))
        base = f"docker/registry/v2/repositories/{repository}"
        for digest in (image.digest, image.manifest):
            links[f"{base}/_manifests/revisions/sha256/{digest[7:]}/link"] = digest
        for digest in parts:
            links[f"{base}/_layers/sha256/{digest[7:]}/link"] = digest
        if tag:
            links[f"{base}/_manifests/tags/{tag}/current/link"] = image.digest
            links[f"{base}/_manifests/tags/{tag}/index/sha256/{image.digest[7:]}/link"] = image.digest
    paths = {digest: f"docker/registry/v2/blobs/sha256/{digest[7:9]}/{digest[7:]}/data" for digest in blobs}
    folders = {str(each) for path in (*links, *paths.values()) for each in Path(path).parents} - {"."}
    for folder in sorted(folders):
        header = tarfile.TarInfo(folder)
        header.type, header.mode = tarfile.DIRTYPE, 0o755
        out.write(header.tobuf(tarfile.PAX_FORMAT))
    for digest, path in paths.items():  # before the links to them
        _copy(bundle, out, path, digest)
    for path, digest in sorted(links.items()):
        _write(out, path, digest.encode())
    out.write(_END)


def _copy(bundle: Bundle, out: IO[bytes], name: str, digest: str) -> None:
    size = bundle.lock.blobs[digest]
    out.write(_header(name, size))
    out.writelines(bundle.pieces(digest))
    out.write(_padding(size))


def _padding(size: int) -> bytes:
    return b"\0" * (-size % _BLOCK)


def _header(name: str, size: int) -> bytes:
    """Equal for equal name and size on every machine; a name too long for ustar gets an extra record."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info.tobuf(tarfile.PAX_FORMAT)


def _write(out: IO[bytes], name: str, content: bytes) -> None:
    out.write(_header(name, len(content)) + content + _padding(len(content)))


# Writing


class Writer:
    """Writes a bundle by its lock: the position of each blob is known beforehand, so they may arrive in any order."""

    def __init__(self, lock: Lock, file: IO[bytes]) -> None:
        self._file, self.places = file, dict[str, int]()
        for name, content in ((LOCK, lock.text()), (LAYOUT, b'{"imageLayoutVersion":"1.0.0"}'), (INDEX, _index(lock))):
            _write(file, name, content)
        file.flush()
        at = file.tell()
        for digest, size in sorted(lock.blobs.items()):
            self.places[digest] = at + _BLOCK
            os.pwrite(file.fileno(), _header(member(digest), size), at)
            at += _BLOCK + size + len(_padding(size))
        file.truncate(at + len(_END))
        self.lock = lock

    def put(self, digest: str, pieces: Iterable[bytes]) -> None:
        """Write the content of a blob. Raises as `place` does."""
        with self.place(digest) as write:
            for piece in pieces:
                write(piece)

    @contextlib.contextmanager
    def place(self, digest: str) -> Iterator[Callable[[bytes], None]]:
        """A function that writes the next chunk of a blob. Finally raises `LaunchError` if the content does not match
        the digest; OSError.
        """
        found, size = hashlib.sha256(), 0

        def write(piece: bytes) -> None:
            nonlocal size
            found.update(piece)
            if size + len(piece) <= self.lock.blobs[digest]:
                os.pwrite(self._file.fileno(), piece, self.places[digest] + size)
            size += len(piece)

        yield write
        if size != self.lock.blobs[digest] or f"sha256:{found.hexdigest()}" != digest:
            raise LaunchError(
                f"the download of {digest} is not the expected content",
                why="its content does not have that digest",
                fix="try again; if it stays so, empty the caches: invoke registry --purge",
                transient=True,
            )


def _index(lock: Lock) -> bytes:
    """Images in the form in which OCI layout tools find them (image-spec: annotations)."""
    system, _, arch = lock.platform.partition("/")
    rows = [
        {
            "mediaType": MANIFEST,
            "digest": image.manifest,
            "size": lock.blobs[image.manifest],
            "platform": {"os": system, "architecture": arch.partition("/")[0]},
            "annotations": {"org.opencontainers.image.ref.name": name, "io.containerd.image.name": name},
        }
        for name, image in sorted(lock.images.items())
    ]
    return json.dumps({"schemaVersion": 2, "manifests": rows}, sort_keys=True).encode()
