"""Post-rendering, as both versions do it: a program for version 3, a plugin's command for version 4."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tasks.rehearsal.call import Exit
from tasks.rehearsal.helm_charts import manifest
from tasks.rehearsal.reaching import documents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tasks.rehearsal.call import Call
    from tasks.rehearsal.flags import Given


def post_rendered(call: Call, given: Given, made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The objects as the post-renderer leaves them; the same where none is given. Raises `Exit`."""
    name = given.get("post-renderer")
    if not name:
        return made
    old = call.place.version("helm").startswith("v3.")
    argv, env = ([name], dict(call.environ)) if old else _plugin(call, name)
    done = subprocess.run(  # noqa: S603 - what the caller names, as Helm does
        [*argv, *given.all("post-renderer-args")],
        input=manifest(made).encode(),
        capture_output=True,
        env=env,
        check=False,
    )
    if done.returncode:
        raise Exit(1, f"Error: UPGRADE FAILED: error while running post render: exit status {done.returncode}")
    return documents(done.stdout.decode())


def _plugin(call: Call, name: str) -> tuple[list[str], dict[str, str]]:
    """The command of a plugin, with its variables filled in, and its environment. Raises `Exit`."""
    for folder in call.environ.get("HELM_PLUGINS", "").split(os.pathsep):
        path = Path(folder) / name
        if (path / "plugin.yaml").is_file():
            (command,) = json.loads((path / "plugin.yaml").read_text())["runtimeConfig"]["platformCommand"]
            env = {**call.environ, "HELM_PLUGIN_DIR": str(path)}
            words = [command["command"], *command["args"]]
            return [_filled(word, env) for word in words], env
    raise Exit(1, f"Error: plugin: {{Name:{name} Type:postrenderer/v1}} not found")


def _filled(word: str, env: dict[str, str]) -> str:
    for key, value in env.items():
        word = word.replace(f"${{{key}}}", value)
    return word
