"""A bundle: one tar archive that is an OCI image layout, with charts, programs and wheels as blobs, and its lock.

Blobs are named by their SHA-256. The lock (`bundle.json`, the first member) lists each with its size and describes
it; nothing else may be in the archive, so no name in it is ever used as a path. Equal locks are equal bytes.
Only the standard library is used here: `python -m tasks.clients.bundle FILE FOLDER` gives the wheels to a machine that
has Python alone. (OCI: image-spec, `image-layout.md`; POSIX: ustar.)
"""

import hashlib
import json
import os
import re
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from tasks.core.errors import BadInput, LaunchError
from tasks.core.files import compressed, no_file

FORMAT = 1
"""Version of the lock format; a newer one is rejected."""
LOCK, INDEX, LAYOUT = "bundle.json", "index.json", "oci-layout"
_FIXED = (LOCK, LAYOUT, INDEX)
_BLOCK = 512
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,250}")
NAME = re.compile(
    r"(?:[a-zA-Z0-9][a-zA-Z0-9.-]*(?::\d{1,5})?/)?[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*"
    r"(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
"""An image's name (distribution: `reference`): it becomes a path in a registry's storage."""
_ID = re.compile(r"[0-9a-f]{16,64}")
_SMALL = 16 << 20
"""Maximum bytes of a document: locks and manifests are read into memory."""
_PROGRAM = 512 << 20
"""Maximum bytes of a program."""
_PIECE = 1 << 20
_READERS = 4


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image: `digest` is the target of its tag, `manifest` that of the bundle's platform."""

    digest: str
    manifest: str
    engine: bool = False
    """The engine needs it."""
    node: bool = False
    """Nodes pull it through a cache."""


@dataclass(frozen=True, kw_only=True)
class File:
    """A chart's archive, or a program compressed by gzip (`sha256` and `size`: of the program itself)."""

    name: str
    file: str
    digest: str
    sha256: str = ""
    size: int = 0


@dataclass(frozen=True, kw_only=True)
class Lock:
    """The contents of a bundle."""

    platform: str
    """Platform of the images, such as linux/amd64."""
    target: str
    """Platform of programs and wheels, such as linux-amd64."""
    images: Mapping[str, Image]
    charts: Mapping[str, File] = field(default_factory=dict)
    """By the chart's id."""
    programs: Mapping[str, File] = field(default_factory=dict)
    wheels: Mapping[str, str] = field(default_factory=dict)
    """Digests by file name."""
    pythons: tuple[str, ...] = ()
    requirements: str = ""
    """SHA-256 of the requirements.txt for the wheels."""
    releases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Images by the digest of their inputs (`tasks.run.images`)."""
    settings: str = ""
    """Digest of the settings that it was saved with, as JSON."""
    blobs: Mapping[str, int] = field(default_factory=dict)
    """Sizes by digest."""

    def text(self) -> bytes:
        """As stored in the archive."""
        return (json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True, indent=1) + "\n").encode()

    @property
    def digest(self) -> str:
        """Changes with any part of the bundle."""
        return f"sha256:{hashlib.sha256(self.text()).hexdigest()}"


def refused(path: Path, why: str, fix: str = "save it again: invoke bundle save FILE") -> BadInput:
    """The error for a file that is not a bundle, or not a usable one."""
    return BadInput(f"{path} cannot be used as a bundle", why=why, fix=fix)


# Reading


class Bundle:
    """An opened bundle. Raises `BadInput` for a file that is none, or has a newer format."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if why := no_file(path):
            raise refused(path, why, "use a file: write the output of a pipe to a file first")
        try:
            if why := compressed(path):
                raise refused(path, why, "gzip -d, unzstd or the like, then use the result")
            self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            fix = "download it first" if ":/" in str(path) else "use a file created by `bundle save`"
            raise refused(path, error.strerror or str(error), fix) from None
        try:
            self._members = dict(self._headers(os.fstat(self._handle).st_size))
            self.lock = self._lock()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _headers(self, whole: int) -> Iterator[tuple[str, tuple[int, int]]]:
        """Offset and size of each member; raises for any that is no plain file with a known name."""
        at, seen = 0, set[str]()
        while True:
            block = os.pread(self._handle, _BLOCK, at)
            if len(block) == _BLOCK and not any(block):
                return
            try:
                header = tarfile.TarInfo.frombuf(block, "ascii", "strict")
            except (tarfile.HeaderError, ValueError):
                raise refused(self.path, "it is no tar archive, or its end is missing") from None
            name, size = header.name, header.size
            if header.type != tarfile.REGTYPE or header.linkname:
                raise refused(self.path, f"its member {name[:80]!r} is not a plain file")
            if name not in _FIXED and not _BLOB.fullmatch(name):
                raise refused(self.path, f"it has an unexpected member {name[:80]!r}")
            if name in seen or (not seen and name != LOCK):
                raise refused(self.path, f"{name} is there twice" if name in seen else f"it does not begin with {LOCK}")
            if not 0 <= size <= whole - at - _BLOCK:
                raise refused(self.path, f"its end is missing: {name} is truncated")
            seen.add(name)
            yield name, (at + _BLOCK, size)
            at += _BLOCK + -(-size // _BLOCK) * _BLOCK

    def _lock(self) -> Lock:
        raw = self._small(LOCK)
        try:
            found = json.loads(raw)
            number = found.pop("format")
        except (ValueError, KeyError, AttributeError, RecursionError):
            raise refused(self.path, f"its {LOCK} is not a lock") from None
        if not isinstance(number, int) or number != FORMAT:
            raise refused(
                self.path,
                f"its format is {number!r}, and this version of the project reads {FORMAT}",
                "use the version of the project that saved it, or save it again with this one",
            )
        try:
            lock = Lock(
                **{
                    **found,
                    "images": {name: Image(**each) for name, each in found["images"].items()},
                    "charts": {name: File(**each) for name, each in found["charts"].items()},
                    "programs": {name: File(**each) for name, each in found["programs"].items()},
                    "releases": {name: tuple(each) for name, each in found["releases"].items()},
                    "pythons": tuple(found["pythons"]),
                }
            )
            wrong = self._wrong(lock)
        except (TypeError, KeyError, AttributeError, ValueError):
            wrong = "a part of it is invalid"
        if wrong:
            raise refused(self.path, f"its {LOCK} is not valid: {wrong}")
        return lock

    def _wrong(self, lock: Lock) -> str:
        """What is wrong with a lock; "" if it is valid."""
        files = [*lock.charts.values(), *lock.programs.values()]
        names = [*(each.file for each in files), *lock.wheels]
        odd = [name for name in names if not _FILE.fullmatch(name)]
        odd += [name for name in (*lock.charts, *lock.releases) if not _ID.fullmatch(name)]
        odd += [name for name in lock.images if not NAME.fullmatch(name)]
        odd += [name for name in lock.programs if name not in ("k3d", "kubectl", "helm")]
        if odd:
            return f"it names {odd[0][:80]!r}"
        digests = (
            [each.digest for each in files] + list(lock.wheels.values()) + ([lock.settings] if lock.settings else [])
        )
        digests += [digest for each in lock.images.values() for digest in (each.digest, each.manifest)]
        missing = [each for each in digests if each not in lock.blobs]
        if missing:
            return f"it does not list {missing[0][:80]}"
        held = {
            f"sha256:{match[1]}": self._members[name][1] for name in self._members if (match := _BLOB.fullmatch(name))
        }
        for digest, size in lock.blobs.items():
            if not _DIGEST.fullmatch(digest) or held.get(digest) != size:
                return f"{digest[:80]} is missing, or not of the size that it lists"
        return "" if len(held) == len(lock.blobs) else "the archive has members that it does not list"

    def _small(self, name: str) -> bytes:
        at, size = self._members.get(name, (0, _SMALL + 1))
        if size > _SMALL:
            raise refused(self.path, f"{name} is missing, or too large for a document of a bundle")
        return os.pread(self._handle, size, at)

    def pieces(self, digest: str) -> Iterator[bytes]:
        """The content of a blob."""
        at, size = self._members[member(digest)]
        while size > 0:
            piece = os.pread(self._handle, min(_PIECE, size), at)
            if not piece:
                raise refused(self.path, "it was truncated while it was read")
            yield piece
            at, size = at + len(piece), size - len(piece)

    def read(self, digest: str) -> bytes:
        """A small blob, verified."""
        found = self._small(member(digest))
        if f"sha256:{hashlib.sha256(found).hexdigest()}" != digest:
            raise self._damaged(digest)
        return found

    def _damaged(self, digest: str) -> BadInput:
        return refused(self.path, f"it is damaged: the content of {digest} does not match", "copy or save it again")

    def verify(self) -> None:
        """Verify all content against its digests. Raises `BadInput`."""

        def check(digest: str) -> None:
            found = hashlib.sha256()
            for piece in self.pieces(digest):
                found.update(piece)
            if f"sha256:{found.hexdigest()}" != digest:
                raise self._damaged(digest)

        with ThreadPoolExecutor(max_workers=_READERS) as pool:
            for done in [pool.submit(check, each) for each in sorted(self.lock.blobs, key=self.lock.blobs.__getitem__)]:
                done.result()
        for name, image in self.lock.images.items():
            for digest in self.parts(image):
                if digest not in self.lock.blobs:
                    raise refused(self.path, f"a part of the image {name} is missing: {digest}")

    def parts(self, image: Image) -> list[str]:
        """Configuration and layers of an image, in order. Raises `BadInput`."""
        try:
            found = json.loads(self.read(image.manifest))
            parts = [str(each["digest"]) for each in (found["config"], *found["layers"])]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise refused(self.path, f"{image.manifest} is not an image manifest") from None
        return parts

    def program(self, name: str, write: Callable[[bytes], object]) -> None:
        """Unpack a program and verify its digest. Raises `BadInput`, before more than its size is written."""
        file = self.lock.programs[name]
        unpack, size, found = zlib.decompressobj(wbits=31), 0, hashlib.sha256()
        try:
            for packed in self.pieces(file.digest):
                piece = unpack.decompress(packed, _PIECE)
                while piece:
                    size += len(piece)
                    if size > min(file.size, _PROGRAM):
                        raise refused(self.path, f"{name} in it is larger than its lock says")
                    found.update(piece)
                    write(piece)
                    piece = unpack.decompress(unpack.unconsumed_tail, _PIECE) if unpack.unconsumed_tail else b""
        except zlib.error:
            raise self._damaged(file.digest) from None
        if found.hexdigest() != file.sha256:
            raise self._damaged(file.digest)


def member(digest: str) -> str:
    """The name of a blob in the archive."""
    return f"blobs/{digest.replace(':', '/')}"


# On a machine with Python alone


def wheels(path: Path, folder: Path, python: str) -> None:
    """Copy the wheels into an existing folder; pip compares them with requirements.txt. Raises `BadInput`."""
    with Bundle(path) as bundle:
        if not bundle.lock.wheels or python not in bundle.lock.pythons:
            has = ", ".join(bundle.lock.pythons) or "none"
            raise refused(path, f"it has no wheels for Python {python}; it has them for: {has}", "use one of those")
        for name, digest in bundle.lock.wheels.items():
            (folder / name).write_bytes(b"".join(bundle.pieces(digest)))


def main(arguments: list[str]) -> int:
    """`FILE FOLDER`; the exit code."""
    try:
        wheels(Path(arguments[0]), Path(arguments[1]), f"{sys.version_info[0]}.{sys.version_info[1]}")
    except LaunchError as error:
        sys.stderr.write(f"{error}\n")
        return error.status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
