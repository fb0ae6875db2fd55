"""Keys of all objects that a launch would put in: what is asked for when a cluster is looked at."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tasks import manifests, namespaces
from tasks.facts.facts import Facts
from tasks.kube.objects import Key, key


def wanted_objects(facts: Facts, parts: Collection[str]) -> list[dict[str, Any]]:
    """The objects of these parts; namespaces always, since everything else lives in them."""
    return [*namespaces.wanted(facts), *contents(facts, parts)]


def contents(facts: Facts, parts: Collection[str]) -> list[dict[str, Any]]:
    """The same without the namespaces that hold them."""
    found: list[dict[str, Any]] = []
    if "secrets" in parts:
        found += facts.secrets
    if "manifests" in parts:
        found += manifests.wanted_base(facts) + manifests.wanted_own(facts)
    return found


def wanted_keys(facts: Facts, parts: Collection[str]) -> list[Key]:
    """Their keys, each once."""
    return list(dict.fromkeys(key(each) for each in wanted_objects(facts, parts)))
