"""Placeholders are filled in texts that were parsed before."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.kube.objects import fill, repeat

VALUES = {"IP": "127.0.0.1", "DOMAIN": "example.test"}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("${IP}", "127.0.0.1"),
        ("https://a.${DOMAIN}:${IP}", "https://a.example.test:127.0.0.1"),
        ("$IP ${OTHER} $(IP) ${ip} ${IP ${} $", "$IP ${OTHER} $(IP) ${ip} ${IP ${} $"),
        ({"${IP}": ["${IP}", 1, None, True, 1.5, {"a": "${DOMAIN}"}]}, None),
        ("", ""),
        ("ip=$${IP} $$${IP} $${OTHER} $$ $${IP}${IP}", "ip=${IP} $${IP} $${OTHER} $$ ${IP}127.0.0.1"),
    ],
)
def test_only_known_names_in_texts(given: Any, wanted: Any) -> None:
    if wanted is None:
        wanted = {"${IP}": ["127.0.0.1", 1, None, True, 1.5, {"a": "example.test"}]}
    assert fill(given, VALUES) == wanted


def test_what_was_filled_in_is_not_looked_at_again_and_cannot_become_structure() -> None:
    evil = 'x"\n  injected: true\n---\n${IP}'
    assert fill({"a": "${DOMAIN}"}, {"IP": "1", "DOMAIN": evil}) == {"a": evil}
    assert fill("${A}", {"A": r"\1\g<0>"}) == r"\1\g<0>"


def test_the_given_value_stays_as_it_is() -> None:
    given = {"a": ["${IP}"]}
    assert fill(given, VALUES) == {"a": ["127.0.0.1"]}
    assert given == {"a": ["${IP}"]}
    assert fill(given, {}) == given


def test_an_item_with_the_placeholder_comes_once_for_each_text() -> None:
    given = {"from": [{"a": "x"}, {"ipBlock": {"cidr": "${B}"}}, "${B}!", ["${B}"]], "alone": "${B}"}
    assert repeat(given, "B", ["1", "2"]) == {
        "from": [{"a": "x"}, {"ipBlock": {"cidr": "1"}}, {"ipBlock": {"cidr": "2"}}, "1!", "2!", ["1", "2"]],
        "alone": "${B}",
    }
    assert repeat(["${B}", "x"], "B", []) == ["x"]
    assert repeat(["$${B}"], "B", ["1", "2"]) == ["$${B}"]
    assert repeat(["${B}"], "B", ["", "${B}"]) == ["", "${B}"]
