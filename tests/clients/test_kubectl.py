"""kubectl's command lines: the private kubeconfig, objects by stdin, none of the user's own defaults."""

from pathlib import Path

import pytest

from tasks.clients import kubectl
from tasks.process.command import Command

OURS = Path("/state/kubeconfig")
CALL = "kubectl --kubeconfig /state/kubeconfig"
APPLY = f"{CALL} apply --server-side --force-conflicts --field-manager=openframe"


@pytest.mark.parametrize(
    ("command", "line", "stdin"),
    [
        (kubectl.apply(OURS, "kind: A", manager="openframe"), f"{APPLY} --filename -", "kind: A"),
        (
            kubectl.apply(OURS, "", manager="openframe", dry_run=True),
            f"{APPLY} --dry-run=server --output=json --filename -",
            "",
        ),
        (kubectl.delete(OURS, "kind: A"), f"{CALL} delete --ignore-not-found --wait=false --filename -", "kind: A"),
        (kubectl.raw(OURS, "/readyz?verbose"), f"{CALL} get --raw /readyz?verbose", None),
        (
            kubectl.flattened("prod"),
            "kubectl config view --minify --flatten --raw --context=prod --output=yaml",
            None,
        ),
        (kubectl.contexts(), "kubectl config get-contexts --output=name", None),
    ],
)
def test_command_lines(command: Command, line: str, stdin: str | None) -> None:
    assert " ".join(command.argv) == line
    assert command.stdin == stdin
    assert command.ok == ((0, 1) if "get-contexts" in line else (0,))
    assert command.env == {"KUBERC": "off"}


def test_objects_are_not_shown() -> None:
    text = kubectl.apply(OURS, "kind: Secret", manager="openframe").paste()
    assert text.endswith(" --filename - < OBJECTS")
    assert "Secret" not in text
