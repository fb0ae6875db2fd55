"""Docker's command lines that copy, pack and unpack volumes, in a container: this works wherever the engine runs, and
whoever may read its files.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from tasks.core.units import KIB, megabytes
from tasks.engine.step import Context
from tasks.process.command import Command, repeated

LABEL = "openframe.snapshot"
"""On volumes and containers of snapshots: the id of the operation that created them."""
_DEADLINE = 3600.0
_SPARSE = 1 << 30
"""Bytes by which an archive may exceed the disk usage of its files: sparse files are stored in full."""
NOT_SOUND = 65
"""Exit code of `unpack` for an invalid archive."""
_SAME = """
fast=
cp --help 2>&1 | grep -q reflink && fast=--reflink=auto
size() { du -sk "$1" | cut -f1; }
copy() {
  mkdir -p "$2"
  ( while sleep 1; do size "$2"; done ) &
  shown=$!
  cp -a $fast "$1/." "$2/"
  code=$?
  kill $shown
  size "$2"
  return $code
}
room() {
  free=$(df -Pk /to | awk 'END { print $4 }')
  [ "$free" -gt "$1" ] && return
  echo "no space left on device: $1 kB are needed, and $free kB are free" >&2
  exit 28
}
"""
"""Times, owners and modes are preserved; blocks are shared if the file system supports it (xfs, btrfs)."""
_SIZES = _SAME + "for each in /from/*; do size \"$each\"; done; df -Pk /from | awk 'END { print $4 }'"
_SAVE = _SAME + "umask 077; cat > /to/password; copy /from /to/data"
_RESTORE = (
    _SAME + 'room "$1"; if [ -s /from/password ]; then cp -p /from/password /to/node/password; fi\n'
    "copy /from/data /to/data"
)
_PACK = """
if command -v zstd >/dev/null; then pack='zstd -q -T0 -3'
elif command -v pigz >/dev/null; then pack='pigz -1'
else pack='gzip -1'; fi
more=
tar --help 2>&1 | grep -q -- --xattrs && more="--xattrs --xattrs-include=*"
(set -o pipefail) 2>/dev/null && set -o pipefail
tar -c $more --numeric-owner -C /from . | $pack > /to/archive
"""
_UNPACK = (
    _SAME
    + """
room "$1"
cat > /to/.archive || exit 28
read_it() {
  case $(head -c 4 /to/.archive | od -An -tx1 | tr -d ' \\n') in
    28b52ffd) zstd -dcq /to/.archive;;
    1f8b*) gzip -dc /to/.archive;;
    *) echo "it is neither of zstd nor of gzip" >&2; exit 65;;
  esac
}
read_it | head -c "$2" | tar -t > /tmp/names || exit 65
if grep -qE '(^|/)\\.\\.(/|$)|^/' /tmp/names; then echo "a path in it leads out of it" >&2; exit 65; fi
more=
tar --help 2>&1 | grep -q -- --xattrs && more="--xattrs --xattrs-include=*"
read_it | head -c "$2" | tar -x -p $more --numeric-owner -C /to || exit 28
rm /to/.archive
[ -d /to/data ] && [ ! -L /to/data ] && [ ! -L /to/password ] || { echo "no data of a node is in it" >&2; exit 65; }
"""
)


def _run(
    image: str,
    owner: str,
    mounts: Iterable[str],
    script: str,
    *words: str,
    feed: Callable[[BinaryIO], None] | None = None,
) -> Command:
    argv = (
        *("docker", "run", "--rm", "--interactive", "--network", "none", "--label", f"{LABEL}={owner}"),
        *repeated("--volume", mounts),
        *("--entrypoint", "sh", image, "-c", script, "sh", *words),
    )
    return Command(argv=argv, feed=feed, shown_stdin="DATA", deadline=_DEADLINE)


def volume_name(operation: str, place: str) -> str:
    """The volume of a node in a snapshot; `place`: as `server-0`."""
    return f"openframe-snapshot-{operation}-{place}"


def sizes(image: str, owner: str, sources: Sequence[str]) -> Command:
    """Kilobytes of each volume, then those that are free beside them."""
    return _run(image, owner, [f"{source}:/from/{n:03}:ro" for n, source in enumerate(sources)], _SIZES)


def save(image: str, owner: str, source: str, volume: str, password: bytes) -> Command:
    """Copy a node's data and its password into a volume; kilobytes are printed meanwhile."""

    def feed(file: BinaryIO) -> None:
        file.write(password)

    return _run(image, owner, (f"{source}:/from:ro", f"{volume}:/to"), _SAVE, feed=feed)


def restore(image: str, owner: str, volume: str, data: str, identity: str, kilobytes: int) -> Command:
    """Copy a saved node into two new volumes. `kilobytes`: of all nodes, which have to be free."""
    mounts = (f"{volume}:/from:ro", f"{data}:/to/data", f"{identity}:/to/node")
    return _run(image, owner, mounts, _RESTORE.replace("df -Pk /to", "df -Pk /to/data"), str(kilobytes))


def pack(image: str, owner: str, volume: str, target: str) -> Command:
    """Pack a saved node into one compressed archive in another volume."""
    return _run(image, owner, (f"{volume}:/from:ro", f"{target}:/to"), _PACK)


def unpack(image: str, owner: str, volume: str, size: int, feed: Callable[[BinaryIO], None]) -> Command:
    """The reverse, from stdin; rejects paths outside of the volume, and far more than `size` bytes."""
    needed, most = size // 1024, 4 * size + _SPARSE
    return _run(image, owner, (f"{volume}:/to",), _UNPACK, str(needed), str(most), feed=feed)


def holder(image: str, owner: str, volume: str) -> Command:
    """Create a container that never runs, so that `docker cp` can read a volume; prints its id."""
    options = ("--label", f"{LABEL}={owner}", "--volume", f"{volume}:/to", "--entrypoint", "sh")
    return Command(argv=("docker", "create", *options, image))


def fetch(container: str, path: Path) -> Command:
    """Copy the archive of `pack` to a file of this machine."""
    return Command(argv=("docker", "cp", f"{container}:/to/archive", str(path)), deadline=_DEADLINE)


def kilobytes(line: str) -> int | None:
    """The kilobytes in a line of progress."""
    return int(line) if re.fullmatch(r"[0-9]+", line.strip()) else None


def progress(context: Context, whole: int) -> Callable[[str], None]:
    """Shows the kilobytes printed by a copy as a part of the whole."""

    def listen(line: str) -> None:
        size = kilobytes(line)
        if size is not None:
            context.say(f"{megabytes(size * KIB)} of {megabytes(whole)}" if whole else megabytes(size * KIB))

    return listen
