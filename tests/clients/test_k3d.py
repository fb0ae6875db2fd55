"""k3d's command lines, and the environment that it may see."""

from pathlib import Path

import pytest

from tasks.clients import k3d
from tasks.process.command import Command

FOLDER = Path("/state/dev")


@pytest.mark.parametrize(
    ("command", "line", "deadline"),
    [
        (k3d.create(Path("/c.yaml"), 200.0), "k3d cluster create --config /c.yaml", 200),
        (k3d.start("dev", 180.0), "k3d cluster start dev --timeout 180s", 195),
        (
            k3d.add_agent("dev", "dev-agent-3", memory="1536m", timeout=60.0),
            "k3d node create dev-agent-3 --cluster dev --role agent --memory 1536m --timeout 60s",
            75,
        ),
        (
            k3d.add_agent("dev", "a", memory=None, timeout=0.5),
            "k3d node create a --cluster dev --role agent --timeout 0.5s",
            15.5,
        ),
        (
            k3d.add_agent("dev", "a", memory=None, timeout=1.0, labels={"a": "b"}, args=["--x=y"]),
            "k3d node create a --cluster dev --role agent --k3s-node-label a=b --k3s-arg --x=y --timeout 1s",
            16,
        ),
        (k3d.start("dev", 2_000_000.0), "k3d cluster start dev --timeout 2000000s", 2_000_015),
    ],
)
def test_command_lines(command: Command, line: str, deadline: float) -> None:
    assert " ".join(command.argv) == line
    assert command.deadline == deadline
    assert command.ok == (0,)


PASSED = """
    K3D_FIX_DNS K3D_FIX_CGROUPV2 K3D_FIX_MOUNTS K3D_IMAGE_LOADBALANCER K3D_IMAGE_TOOLS K3D_HELPER_IMAGE_TAG
    K3D_LOG_NODE_WAIT_LOGS K3D_DEBUG_COREDNS_RETRIES K3D_DEBUG_DISABLE_DOCKER_INIT K3D_DEBUG_NODE_WAIT_BACKOFF_LIMIT
    DOCKER_HOST DOCKER_CONFIG DOCKER_SOCK HTTPS_PROXY no_proxy SSH_AUTH_SOCK HOME PATH LOG_LEVEL WSL_DISTRO_NAME
"""
"""k3d's own are those of 5.9.0, `pkg/types/env.go`."""
HELD_BACK = """
    K3D_AGENTS K3D_SERVERS K3D_IMAGE K3D_NETWORK K3D_TOKEN K3D_OPTIONS_K3D_WAIT K3D_REGISTRIES_USE
    K3D_RESOURCE_OPTIMIZATION K3D_MEMORY_LIMIT_SERVER K3D_CPU_LIMIT_AGENT K3D_CONCURRENT_DOWNLOADS
    K3D_HELPER_IMAGE_TAG_OF_MINE KUBECONFIG DOCKER_DEFAULT_PLATFORM
"""
"""k3d takes `K3D_` and any key of its configuration (viper); of several kubeconfigs it only warns."""


def test_what_k3d_itself_reads_is_passed_on_and_what_would_override_its_configuration_is_not() -> None:
    result = k3d.environment(dict.fromkeys([*PASSED.split(), *HELD_BACK.split()], "1"), FOLDER)
    assert {name for name, text in result.items() if text == "1"} == set(PASSED.split())


def test_files_of_k3d_go_below_the_clusters_folder() -> None:
    result = k3d.environment({"XDG_CONFIG_HOME": "/home/me/.config", "TMPDIR": "/tmp/me"}, FOLDER)
    assert result == {"XDG_CONFIG_HOME": "/state/dev/config", "TMPDIR": "/state/dev/tmp", "OPENFRAME_DOLLAR": "$"}
