"""A Helm post-renderer in this process: rendered manifests are edited here before they go to the cluster.

Helm 3 needs a program, Helm 4 the name of a plugin (docs: "Post Rendering"). Both are a few lines of Python that pass
the manifests here and back through a socket, so that no file contains them: they include Secrets.
"""

import contextlib
import json
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_SOCKET, _PYTHON = "OPENFRAME_POST_RENDERER", "OPENFRAME_PYTHON"
_PLUGIN = "openframe"
_CLIENT = f"""\
import os, socket, sys
with socket.socket(socket.AF_UNIX) as there:
    there.connect(os.environ["{_SOCKET}"])
    there.sendall(b"\\n" + sys.stdin.buffer.read())
    there.shutdown(socket.SHUT_WR)
    answer = there.makefile("rb").read()
sys.stdout.buffer.write(answer)
sys.exit(not answer)
"""
_LONGEST = 60
"""Maximum bytes of a folder's name: the path of a socket is limited to 104 on a Mac."""
_NOTHING = "# nothing is rendered\n"
"""Helm 4 treats empty output as a failure."""


@dataclass(frozen=True, kw_only=True)
class PostRenderer:
    """The options and environment for a Helm command that uses it."""

    flags: tuple[str, ...]
    env: Mapping[str, str]


@contextlib.contextmanager
def post_renderer(edit: Callable[[str], str], major: int, plugins: str) -> Iterator[PostRenderer]:
    """A post-renderer for commands that run in the block. `major`: Helm's version; `plugins`: its plugin folders.

    An error that `edit` raises fails the command, and is raised instead of the command's own.
    """
    failed: list[Exception] = []
    short = tempfile.gettempdir() if len(tempfile.gettempdir()) < _LONGEST else "/tmp"  # noqa: S108 - created with private permissions
    with (
        tempfile.TemporaryDirectory(prefix="openframe-", dir=short) as name,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        folder = Path(name)
        flags = _flags(folder, major)
        address = str(folder / "socket")
        listener.bind(address)
        listener.listen()
        thread = threading.Thread(target=_serve, args=(listener, edit, failed), name="post-renderer", daemon=True)
        thread.start()
        env = {_SOCKET: address, _PYTHON: sys.executable, "HELM_PLUGINS": os.pathsep.join([name, plugins])}
        try:
            yield PostRenderer(flags=flags, env=env)
        except Exception as error:
            if failed:
                raise failed[0] from error
            raise
        finally:
            with socket.socket(socket.AF_UNIX) as over:  # a connection without data ends it
                over.connect(address)
            thread.join()


def _flags(folder: Path, major: int) -> tuple[str, ...]:
    plugin = folder / _PLUGIN
    plugin.mkdir()
    client = plugin / "client.py"
    client.write_text(_CLIENT, encoding="utf-8")
    if major < 4:
        return "--post-renderer", sys.executable, "--post-renderer-args=-IS", f"--post-renderer-args={client}"
    # Helm splits a command at blanks before it expands variables, and a path may contain some
    command = {"command": f"${{{_PYTHON}}}", "args": ["-IS", "${HELM_PLUGIN_DIR}/client.py"]}
    about = {
        "apiVersion": "v1",
        "name": _PLUGIN,
        "version": "1.0.0",
        "type": "postrenderer/v1",
        "runtime": "subprocess",
        "runtimeConfig": {"platformCommand": [command]},
    }
    (plugin / "plugin.yaml").write_text(json.dumps(about), encoding="utf-8")
    return "--post-renderer", _PLUGIN


def _serve(listener: socket.socket, edit: Callable[[str], str], failed: list[Exception]) -> None:
    """Serve requests until a connection sends nothing; without a response the client fails, and so does Helm."""
    while True:
        connection, _ = listener.accept()
        with connection:
            sent = connection.makefile("rb").read()
            if not sent:
                return
            try:
                answer = edit(sent.decode("utf-8"))
            except Exception as error:  # noqa: BLE001 - raised again by the caller of the command
                failed.append(error)
                continue
            with contextlib.suppress(OSError):  # Helm was terminated meanwhile
                connection.sendall((answer if answer.strip() else _NOTHING).encode())
