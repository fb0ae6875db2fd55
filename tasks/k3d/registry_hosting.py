"""The ConfigMap in which a cluster tells developer tools where to push images (KEP-1755)."""

from __future__ import annotations

import json
from typing import Any

from tasks.clients import kubectl
from tasks.core.errors import LaunchError
from tasks.diagnose.command import run_command
from tasks.engine.step import Context, Report
from tasks.facts.facts import Facts

NAMESPACE, NAME = "kube-public", "local-registry-hosting"
_PATH = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{NAME}"
_KEY = "localRegistryHosting.v1"
_OBJECT = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": NAMESPACE}}


def names_a_cache(facts: Facts) -> bool:
    """Whether k3d will name a pull-through cache: it takes the first of `registries.use`, whatever that is.

    Source: k3d, `RegistryGenerateLocalRegistryHostingConfigMapYAML`; it does so when it makes a cluster only.
    """
    return bool(facts.shape.registries) and not facts.settings.registries.push


def withdraw(facts: Facts, context: Context) -> Report | None:
    """Remove the ConfigMap where it names a cache, to which nothing can be pushed; one of the user's own stays.

    What fails is a note: images can be pulled all the same.
    """
    try:
        code, text = facts.api().raw(_PATH)
        if code == 404 or (code == 200 and _host(text) not in facts.shape.registries):
            return Report(why="no cache is named", skipped=True)
        run_command(facts.programs, kubectl.delete(facts.paths.kubeconfig, json.dumps(_OBJECT) + "\n"), context)
    except LaunchError as error:
        by_hand = f"kubectl --namespace {NAMESPACE} delete configmap {NAME}"
        return Report(notes=(f"tools may take a cache for a registry to push to ({error.what}): {by_hand}",))
    return None


def _host(text: str) -> str:
    """The registry as nodes reach it; empty where nothing, or nothing that can be read, is said."""
    from tasks.core import yaml

    try:
        told: Any = yaml.load(json.loads(text)["data"][_KEY])
        return str(told["hostFromContainerRuntime"])
    except (ValueError, KeyError, TypeError):
        return ""
