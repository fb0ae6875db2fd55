"""Namespaces by name."""

from __future__ import annotations

import pytest

from tasks.clients.kubectl import FIELD_MANAGER
from tasks.core.errors import BadInput
from tasks.kube.objects import FINGERPRINT, MANAGED_BY
from tasks.run.desired import namespace_objects


def test_twelve_namespaces_in_their_order_each_once() -> None:
    names = [f"ns-{number}" for number in range(12)]
    found = namespace_objects([*names, "ns-3", "ns-0"])
    assert [each["metadata"]["name"] for each in found] == names
    assert len({each["metadata"]["annotations"][FINGERPRINT] for each in found}) == 12
    for each in found:
        assert (each["apiVersion"], each["kind"]) == ("v1", "Namespace")
        assert each["metadata"]["labels"] == {MANAGED_BY: FIELD_MANAGER}
    assert found == namespace_objects(names)
    assert namespace_objects([]) == []


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "a.b", "a" * 64, "a: b", "ä", "${IP}"])
def test_odd_names_are_refused_by_name(name: str) -> None:
    with pytest.raises(BadInput) as error:
        namespace_objects(["good", name])
    assert f"'{name}'" in error.value.what
    assert "NAMESPACES" in error.value.fix
