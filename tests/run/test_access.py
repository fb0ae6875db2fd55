"""What the end of a launch, and `status`, tell of how to reach the cluster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.engine.step import Step
from tasks.facts.facts import Ports
from tasks.run.finish import Access, access
from tasks.run.task import Options
from tests import given

UP = Options(task="up")


def found(folder: Path, options: Options = UP, steps: tuple[Step, ...] = (), **cluster: Any) -> Access:
    settings = given.settings(cluster=cluster)
    facts = given.facts(folder, settings=settings, ports=Ports(http=80, https=8443, api=6550))
    facts.outputs.registry_ports["k3d-openframe-registry"] = 5051
    return access(facts, steps, options, exists=True, as_configured=True)


@pytest.mark.parametrize(
    ("cluster", "addresses"),
    [
        ({}, ("http://localhost", "https://localhost:8443")),
        ({"bind_address": "0.0.0.0"}, ("http://localhost", "https://localhost:8443")),
        ({"bind_address": "192.0.2.7"}, ("http://192.0.2.7", "https://192.0.2.7:8443")),
        ({"bind_address": "192.0.2.7", "domain": "dev.test"}, ("http://dev.test", "https://dev.test:8443")),
        (
            {"ports": {"extra": ["30000-30001:30000-30001@server:0:direct"]}},
            ("http://localhost", "https://localhost:8443", "localhost:30000", "localhost:30001"),
        ),
    ],
)
def test_addresses_are_those_that_a_person_opens(
    tmp_path: Path, cluster: dict[str, Any], addresses: tuple[str, ...]
) -> None:
    assert found(tmp_path, **cluster).addresses == addresses


def test_kubectl_is_told_by_the_private_kubeconfig_where_the_users_has_no_entry(tmp_path: Path) -> None:
    made = found(tmp_path)
    assert made.context == "k3d-openframe-dev"
    assert made.kubectl.startswith("kubectl --kubeconfig /")
    assert made.push == "localhost:5051"


def test_what_was_left_out_is_told_and_what_to_do_then(tmp_path: Path) -> None:
    steps = (Step(name="secrets: leave out pat", task="secrets", skip="TOKEN is not set"), Step(name="b", task="helm"))
    made = found(tmp_path, replace(UP, profile="ci", sets=("a=b c",)), steps)
    assert made.left_out == ("secret pat: TOKEN is not set",)
    assert made.next == "invoke secrets --profile ci --set 'a=b c', when the secrets that were left out have values"


def test_what_is_not_there_cannot_be_reached(tmp_path: Path) -> None:
    facts = given.facts(tmp_path)
    assert access(facts, (), UP, exists=False, as_configured=False).rows() == (("go on with", "`invoke up`"),)
    drifted = access(facts, (), UP, exists=True, as_configured=False)
    assert drifted.next == "invoke plan --diff"
