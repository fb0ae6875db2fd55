"""The user's own manifests: files, folders and patterns, parsed like kubectl, with `${IP}`, `${DOMAIN}` and images of
builds filled in.

Folders with a kustomization are rendered by kubectl.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from glob import has_magic
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tasks.clients import kubectl
from tasks.core.documents import documents, read_text
from tasks.core.errors import BadInput
from tasks.core.paths import expanded
from tasks.core.redact import WORTH_HIDING, conceal
from tasks.kube.objects import Key, decoded, fill, finish, is_secret, key, opened, refused
from tasks.process.command import CommandFailed
from tasks.process.programs import Programs
from tasks.settings.needs import refuse_unknown

if TYPE_CHECKING:
    from tasks.facts.facts import Facts
    from tasks.settings.schema import Settings

_ENDINGS = (".yaml", ".yml", ".json")
_CALLING = ("CustomResourceDefinition", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "APIService")
"""Kinds with the authority of a server that the API calls."""
_SHORTEST = 64
"""Bytes: no certificate is shorter."""
_SERVERS_OWN = ("managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink")
"""Fields of exported objects; server-side apply rejects the first, the others are useless."""
_USUAL = "default"
"""The default namespace of objects."""
KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
"""Files that mark a folder for rendering (kustomize: `konfig.RecognizedKustomizationFileNames`)."""

_AT_ONCE = 4
_OUTSIDE = frozenset({"prepull", "registry"})
"""Parts that apply nothing to a cluster."""


def kustomizations(files: Sequence[str], root: Path) -> tuple[Path, ...]:
    """The folders that `kubectl kustomize` must render before `user_objects` can read them."""
    return tuple(path for path in _paths(files, root) if path.is_dir())


def own_objects(facts: Facts, paths: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """The user's own objects, from all their files or from these; each file is parsed once. Raises `BadInput`."""
    files = tuple([file.path for file in facts.settings.manifests.files] if paths is None else paths)
    if files not in facts.outputs.own:
        check = partial(refuse_unknown, facts.settings)
        facts.outputs.own[files] = user_objects(files, facts.root, facts.placeholders, facts.rendered, check)
    return facts.outputs.own[files]


def needs_by_object(facts: Facts) -> dict[Key, tuple[str, ...]]:
    """Releases that an object's file needs, for objects with needs."""
    found: dict[Key, tuple[str, ...]] = {}
    for file in facts.settings.manifests.files:
        for each in own_objects(facts, [file.path]) if file.needs else ():
            found[key(each)] = tuple(dict.fromkeys((*found.get(key(each), ()), *file.needs)))
    return found


def kustomized(settings: Settings, root: Path, programs: Programs, parts: Collection[str]) -> dict[Path, str]:
    """The rendered text of each such folder, for a task that works in a cluster. Raises `BadInput` on failure."""
    found = kustomizations([file.path for file in settings.manifests.files], root)
    if not found or set(parts) <= _OUTSIDE:
        return {}
    deadline = settings.timeouts.command
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        return dict(zip(found, pool.map(lambda folder: _rendered(programs, folder, deadline), found), strict=True))


def _rendered(programs: Programs, folder: Path, deadline: float) -> str:
    command = kubectl.kustomize(folder, deadline=deadline)
    try:
        return programs.run(command, quiet=True).out
    except CommandFailed as error:
        raise BadInput(
            f"{folder}, which manifests.files names, cannot be rendered",
            why=error.what,
            fix=f"correct its kustomization; to see it alone: {command.paste()}",
        ) from None


def user_objects(
    files: Sequence[str],
    root: Path,
    values: Mapping[str, str],
    rendered: Mapping[Path, str] = MappingProxyType({}),
    check: Callable[[Any, str], None] = lambda _object, _place: None,
) -> list[dict[str, Any]]:
    """Objects of all files in order, a folder's files by name; lists are expanded, empty documents dropped.

    `rendered` has the texts of the folders from `kustomizations`; `check` rejects an object, with its location.

    Paths are relative to `root`. An object in two files is returned once if both are equal. Raises `BadInput` with
    file, document and line, also for one that differs between files.
    """
    found: list[dict[str, Any]] = []
    known: dict[Key, tuple[str, dict[str, Any]]] = {}
    for path in _paths(files, root):
        shown = _shown(path, root)
        if path in rendered:
            text, shown = rendered[path], f"{shown} (by kubectl kustomize)"
        else:
            text = read_text(path, "one of manifests.files")
        for document in documents(text, shown):
            for place, given in opened(document.value, document.place):
                check(given, place)
                cleaned = _cleaned(fill(given, values))
                obj, compared = finish(cleaned), _compared(cleaned)
                first, before = known.setdefault(key(compared), (place, compared))
                if before is not compared:
                    if before == compared:
                        continue
                    what = f"{obj['kind']} '{obj['metadata']['name']}'"
                    raise refused(place, f"{what} is in {first} already, and differs from it")
                _hide(obj)
                found.append(obj)
    return found


def _paths(files: Sequence[str], root: Path) -> Iterator[Path]:
    """Files, and folders with a kustomization, whose files are not listed."""
    seen: set[Path] = set()
    for given in (given for name in files for given in _named(name, root)):
        path = given.parent if given.name in KUSTOMIZATIONS and given.is_file() else given
        plain = path.is_dir() and not any((path / each).is_file() for each in KUSTOMIZATIONS)
        for each in _listed(path) if plain else [path]:
            if each.resolve() not in seen:  # a folder, and one of its files again
                seen.add(each.resolve())
                yield each


def _named(name: str, root: Path) -> list[Path]:
    """The path, or those of a pattern."""
    if "://" in name:
        why = "manifests.files names files of this machine: an address may answer differently at each launch"
        raise BadInput(f"{name} is not a file", why=why, fix="download it once, and name the file or its folder")
    given = expanded(name)
    path, base = root / given, Path(given.anchor) if given.is_absolute() else root
    if path.exists() or not has_magic(name):
        return [path]
    if not (found := sorted(base.glob(str(given.relative_to(given.anchor))))):
        raise BadInput(f"no file matches {path}", why="it is one of manifests.files", fix="correct the pattern")
    return found


def _listed(folder: Path) -> list[Path]:
    found = sorted(
        each
        for each in folder.iterdir()
        if each.suffix.lower() in _ENDINGS and not each.name.startswith(".") and each.is_file()
    )
    if not found:
        raise BadInput(
            f"{folder} contains no manifests",
            why=f"manifests.files names it, and only its own {', '.join('*' + end for end in _ENDINGS)} are read",
            fix="put them there, or remove the folder from manifests.files",
        )
    return found


def _shown(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _cleaned(obj: dict[str, Any]) -> dict[str, Any]:
    """Without fields that only the server writes, and without placeholders that a controller replaces."""
    found = {**obj, "metadata": {name: value for name, value in obj["metadata"].items() if name not in _SERVERS_OWN}}
    cleaned: dict[str, Any] = _without_placeholders(found) if obj["kind"] in _CALLING else found
    return cleaned


def _without_placeholders(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Without each `caBundle` that is too short for a certificate, such as `Cg==` by kubebuilder.

    cert-manager's cainjector, or the webhook's own program, sets it later: whoever applied the placeholder again would
    break the webhook, and the object would differ from it at each launch.
    """
    if isinstance(value, dict):
        return {
            name: _without_placeholders(inner)
            for name, inner in value.items()
            if name != "caBundle" or not isinstance(inner, str) or len(inner.strip()) * 3 / 4 >= _SHORTEST
        }
    return [_without_placeholders(inner) for inner in value] if isinstance(value, list) else value


def _compared(obj: dict[str, Any]) -> dict[str, Any]:
    """The content of an object without nulls, server-side status, and its effective namespace."""
    content: dict[str, Any] = _without_nulls({name: value for name, value in obj.items() if name != "status"})
    if content["metadata"].get("namespace") == _USUAL:
        del content["metadata"]["namespace"]
    return content


def _without_nulls(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _hide(obj: Mapping[str, Any]) -> None:
    """Mask a Secret's values from now on, in case a program repeats them."""
    if not is_secret(obj):
        return
    for value in decoded(obj).values():
        text = value.decode("utf-8", "replace")
        if len(text) >= WORTH_HIDING:
            conceal(text)
