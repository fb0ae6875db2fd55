"""Causes that lie in a program itself, whichever it is."""

from __future__ import annotations

from tasks.diagnose.diagnosis import Cause

CAUSES = (
    Cause(
        id="unknown-flag",
        programs=("docker", "k3d", "kubectl", "helm"),
        patterns=(
            r"unknown flag: (?P<flag>\S+)",
            r"unknown shorthand flag: (?P<flag>.+)",
            r"unknown command (?P<flag>\"[^\"]+\") for",
            r"'(?P<flag>\w+)' is not a docker command",
        ),
        what="this version of the program does not know {flag}",
        why="it is older or newer than the versions that this project is made for",
        fix="`invoke doctor` shows the versions; `make tools` fetches k3d, kubectl and helm in the pinned ones",
    ),
    Cause(
        id="wrong-processor",
        programs=(),
        patterns=(r"exec format error", r"cannot execute binary file"),
        what="a program or an image is made for another processor",
        why="{line}",
        fix="fetch it for this machine: `make tools` for programs; for an image a version that has this platform",
    ),
    Cause(
        id="killed",
        programs=(),
        codes=(-9, 137),
        what="the program was killed",
        why="nothing but the system does that here: most likely this machine ran out of memory",
        fix="fewer nodes (K3D_AGENTS) or smaller limits (K3D_MEMORY_LIMIT_SERVER, K3D_MEMORY_LIMIT_AGENT); "
        "`invoke doctor` compares them with the machine",
    ),
)
