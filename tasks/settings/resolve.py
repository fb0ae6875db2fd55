"""All layers, read once, as one frozen tree that knows where each value came from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.digest import sha256
from tasks.core.redact import conceal_logins, conceal_proxy
from tasks.settings.invoke_file import check_invoke_yaml, look, refuse_variables
from tasks.settings.origin import BUILT_IN, DEFAULT, Layer, Origin, Problem, parts, refusal

if TYPE_CHECKING:
    from tasks.settings.merge import Node
    from tasks.settings.schema import Settings

__all__ = ["Resolved", "check_invoke_yaml", "resolve"]

_NO_MATTER = ("profile", "log_dir", "silent")
"""What changes nothing that is launched: it is left out of `settings_hash`."""


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """The settings in force."""

    settings: Settings
    merged: Node
    """The values as the layers gave them, each with its origin."""

    @property
    def settings_hash(self) -> str:
        """16 digits, the same for the same settings in whatever order and by whichever layer.

        What `invoke config` masks is left out: a short secret could be guessed from its hash.
        """
        from tasks.settings.origin import masked

        values = masked((), self.settings.model_dump(mode="json", exclude=set(_NO_MATTER)))
        return sha256(json.dumps(values, sort_keys=True), 16)

    def with_log_dir(self, path: str) -> Resolved:
        """The same with another log folder: the default one depends on who has it."""
        return replace(self, settings=self.settings.model_copy(update={"log_dir": path}))

    def above_default(self, path: str) -> bool:
        """Whether a layer above the built-in defaults has set this, or something below it. KeyError: no such path."""
        from tasks.settings.merge import Leaf, leaves, positions

        here: Any = self.merged
        for name in parts(path):
            if isinstance(here, list):
                found = positions(here, name, "name") or positions(here, name, "upstream")
                here = here[found[0]] if found else None
            else:
                here = here.get(name) if isinstance(here, dict) else None
            if here is None:
                raise KeyError(path)
        below = [here] if isinstance(here, Leaf) else list(leaves(here))
        return any(leaf.origin.layer != DEFAULT for leaf in below)


def resolve(root: Path, environ: Mapping[str, str], profile: str | None, sets: Sequence[str]) -> Resolved:
    """Defaults, invoke.yaml, profile, environment and `--set`, each over the one before. Raises `BadInput`."""
    from tasks.settings.layers import choose, of_environment, of_option, of_options, of_profile
    from tasks.settings.origin import conceal_values
    from tasks.settings.rules import problems as broken_rules
    from tasks.settings.validate import checked

    problems: list[Problem] = []
    _conceal_environment(environ)
    refuse_variables(environ)
    file = look(root, problems.append)
    options = of_options(tuple(sets), problems.append)
    chosen = choose(root, environ, of_option(profile) or _profile_option(options), file.profile)
    stages: list[list[Layer]] = [[file.layer]]
    if chosen is not None:
        stages.append([of_profile(chosen.path, chosen.shown, problems.append)])
    stages.append(of_environment(environ))
    stages.append([layer for layer in options if "profile" not in layer.data])
    if chosen is not None:
        stages.append([Layer(data={"profile": chosen.name}, origin=chosen.origin)])
    merged, settings = _defaults()
    found: Settings | None = settings
    for stage in stages:
        if any(layer.data is not None for layer in stage):
            merged = _over(merged, stage, problems.append)
            found = checked(merged, problems.append)  # after each: a layer above does not hide what is wrong below
    if found is not None:
        conceal_values(found)
    if found is not None and not problems:
        problems += broken_rules(found, merged)
    if problems or found is None:
        raise refusal(problems)
    return Resolved(settings=found, merged=merged)


def _conceal_environment(environ: Mapping[str, str]) -> None:
    """Logins in addresses, whatever variable holds them: programs repeat their environment in errors."""
    for name, value in environ.items():
        conceal_logins(value)
        if name.lower().endswith("_proxy"):
            conceal_proxy(value)


def _profile_option(options: Sequence[Layer]) -> tuple[str, Origin] | None:
    """A profile that `--set profile=…` names, the last one if there are several."""
    given = [layer for layer in options if "profile" in layer.data]
    if not given:
        return None
    value = given[-1].data["profile"]
    return ("none" if value is None else str(value)), given[-1].origin


def _defaults() -> tuple[Node, Settings]:
    from tasks.settings.merge import Merging
    from tasks.settings.schema import Settings
    from tasks.settings.shape import section

    settings = Settings()
    layer = Layer(data=settings.model_dump(), origin=BUILT_IN)
    return Merging(layer=layer, root=section(Settings), report=lambda _problem: None).over(None), settings


def _over(merged: Node, stage: Sequence[Layer], report: Callable[[Problem], None]) -> Node:
    from tasks.settings.merge import Merging
    from tasks.settings.schema import Settings
    from tasks.settings.shape import section

    for layer in stage:
        if layer.data is not None:
            merged = Merging(layer=layer, root=section(Settings), report=report).over(merged)
    return merged
