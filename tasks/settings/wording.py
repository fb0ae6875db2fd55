"""How texts must be written that other rooms check again before they use them.

They are rules and not types: what a program makes of the tree is checked where it is used, what a person
writes is told here, with its layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tasks.settings import names
from tasks.settings.private import told
from tasks.settings.problems import Finding
from tasks.settings.tree import Quota, Secret, Settings
from tasks.settings.values import amount

Place = tuple[str | int, ...]


def findings(settings: Settings) -> Iterator[Finding]:
    """Texts that cannot be what they are for."""
    yield from _checked(("cluster", "domain"), settings.cluster.domain, names.host)
    quota = settings.manifests.quota
    for name in Quota.model_fields:
        if isinstance(text := getattr(quota, name), str):
            yield from _checked(("manifests", "quota", name), text, amount)
    for number, secret in enumerate(settings.secrets):
        yield from _of_secret(("secrets", number), secret)


def _of_secret(path: Place, secret: Secret) -> Iterator[Finding]:
    yield from _checked((*path, "name"), secret.name, names.host)
    yield from _checked((*path, "registry"), secret.registry, names.one_line)
    yield from _checked((*path, "username"), secret.username, names.one_line)
    for key, source in secret.values.items():
        place = (*path, "values", key)
        given = [name for name in type(source).model_fields if getattr(source, name) is not None]
        if len(given) != 1:
            text = f"has {len(given)} sources" + (f" ({', '.join(given)})" if given else "")
            yield Finding(path=place, text=text, why="a value comes from exactly one: env, file or command")
        if source.env is not None:
            yield from _checked((*place, "env"), source.env, names.variable)
        if source.file is not None:
            yield from _checked((*place, "file"), source.file, names.one_line)
        if source.command is not None:
            for number, each in enumerate(source.command):
                yield from _checked((*place, "command", number), each, names.argument)
            if not source.command:
                yield Finding(
                    path=(*place, "command"), text="is an empty list", why="it names a program, then its arguments"
                )


def _checked(path: Place, text: str, check: Callable[[str], str]) -> Iterator[Finding]:
    try:
        check(text)
    except ValueError as error:
        yield Finding(path=path, text=f"is {told(tuple(map(str, path)), text)}", why=f"it {error}")
