"""The one program inside an archive. Nothing is ever written to a path that an archive names."""

from __future__ import annotations

import contextlib
import gzip
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tasks.errors import LaunchError

_LARGEST = 512 * 1024 * 1024
"""Bytes of an unpacked program: an archive must not fill the disk."""


@contextlib.contextmanager
def member(archive: Path, name: str) -> Iterator[IO[bytes]]:
    """The file of that name, to be read. Raises `LaunchError`, also while it is read."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for entry in tar:
                if entry.name.removeprefix("./") == name:
                    break
            else:
                raise _wrong(name, "it is not in it")
            if not entry.isreg() or entry.size > _LARGEST:
                raise _wrong(name, "it is no file, or larger than any program that is fetched here")
            content = tar.extractfile(entry)
            assert content is not None  # a regular file
            with content:
                yield content
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _wrong(name, f"it cannot be read: {error}") from None


def _wrong(name: str, why: str) -> LaunchError:
    return LaunchError(
        f"the downloaded archive does not give {name}",
        why=f"{why}; its checksum is right, so this is what was published",
        fix="look at the version in config/pins.yaml, or put the program on the PATH",
    )
