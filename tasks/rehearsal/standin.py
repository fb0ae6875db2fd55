"""Where a stand-in's process begins. It imports little: each is started hundreds of times."""

from __future__ import annotations

import os
import signal
import sys

from tasks.rehearsal import place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import IO

    from tasks.rehearsal.call import Call


def main() -> None:
    """The process of `program args…`: its signals are a Go program's, its end is at once."""
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    program, *args = sys.argv[1:]
    code = run(program, args, os.environ, sys.stdin.buffer, sys.stdout.buffer, sys.stderr.buffer)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # without the interpreter's own tidying up


def run(
    program: str,
    args: Sequence[str],
    environ: Mapping[str, str],
    stdin: IO[bytes],
    out: IO[bytes],
    err: IO[bytes],
) -> int:
    """Its exit code."""
    from tasks.rehearsal.call import Call, Exit

    where = place.of(environ)
    if where is None or not where.state.is_dir():
        err.write(f"REHEARSAL: {place.VARIABLE} names no rehearsal; nothing real is done here\n".encode())
        return 1
    try:
        call = Call(where, program, args, environ, stdin, out, err)
        call.arm()
        _of(program)(call)
    except Exit as end:
        if end.text:
            err.write(f"{end.text}\n".encode())
        return end.code
    except ValueError as error:
        if type(error).__name__ != "JSONDecodeError":
            raise
        err.write(f"REHEARSAL: a file in {where.folder} is no JSON: {error}\n".encode())
        return 1
    return 0


def _of(program: str) -> Callable[[Call], None]:
    if program == "docker":
        from tasks.rehearsal.docker import docker

        return docker
    if program == "k3d":
        from tasks.rehearsal.k3d import k3d

        return k3d
    if program == "kubectl":
        from tasks.rehearsal.kubectl import kubectl

        return kubectl
    from tasks.rehearsal.helm import helm

    return helm
