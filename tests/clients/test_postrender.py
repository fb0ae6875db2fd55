"""What Helm renders goes through a function of this process: as a program for version 3, as a plugin for version 4."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.clients.postrender import PostRenderer, post_renderer

MANIFEST = "---\n# Source: a\nkind: A\nname: ü\n"


def rendered(renderer: PostRenderer, text: str = MANIFEST) -> subprocess.CompletedProcess[bytes]:
    """As Helm runs it: by what the flags and the environment say."""
    env = {**os.environ, **renderer.env}
    if renderer.flags[1] == sys.executable:
        argv = [renderer.flags[1], *(flag.partition("=")[2] for flag in renderer.flags[2:])]
    else:
        folder = Path(env["HELM_PLUGINS"].split(os.pathsep)[0]) / renderer.flags[1]
        about = json.loads((folder / "plugin.yaml").read_text())
        assert (about["name"], about["type"], about["runtime"]) == (renderer.flags[1], "postrenderer/v1", "subprocess")
        (command,) = about["runtimeConfig"]["platformCommand"]
        env["HELM_PLUGIN_DIR"] = str(folder)
        argv = [os.path.expandvars(each) for each in (command["command"], *command["args"])]
        argv = [
            each.replace("${HELM_PLUGIN_DIR}", str(folder)).replace("${OPENFRAME_PYTHON}", sys.executable)
            for each in argv
        ]
    return subprocess.run(argv, input=text.encode(), env=env, capture_output=True, check=False, timeout=20)


@pytest.mark.parametrize("major", [3, 4])
def test_manifests_go_through_the_function(major: int) -> None:
    with post_renderer(lambda text: text.replace("kind: A", "kind: B"), major, "/plugins") as renderer:
        done = rendered(renderer)
        assert (done.returncode, done.stdout.decode().strip()) == (0, MANIFEST.replace("kind: A", "kind: B").strip())
        assert rendered(renderer, "").stdout.startswith(b"#"), "an empty answer is a failure to Helm 4"
        folder = Path(renderer.env["HELM_PLUGINS"].split(os.pathsep)[0])
        assert renderer.env["HELM_PLUGINS"].endswith(f"{os.pathsep}/plugins")
    assert not folder.exists()


def test_an_error_fails_the_command_and_takes_the_place_of_its_own() -> None:
    def edit(_text: str) -> str:
        raise ValueError("the API is gone")

    def launch(renderer: PostRenderer) -> None:
        assert rendered(renderer).returncode == 1
        raise RuntimeError("helm ended with code 1")

    with pytest.raises(ValueError, match="the API is gone"), post_renderer(edit, 4, "") as renderer:
        launch(renderer)


def test_a_command_that_never_renders_ends_it_too() -> None:
    with pytest.raises(RuntimeError, match="chart"), post_renderer(str, 4, ""):
        raise RuntimeError("no such chart")
