"""Helm's command lines, for versions 3 and 4, isolated from the user's own Helm files; and the .helmignore of a chart.

No `--wait` and none of the flags that version 4 renamed (`--atomic`, `--force`): a separate step waits
for readiness, without a process.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tasks.clients.postrender import PostRenderer
from tasks.process.command import Command, duration
from tasks.settings.derived import FINGERPRINT

MANAGER = "helm"
"""The field manager of both versions (Helm: `kube.ManagedFieldsManager`)."""
KEEP = "helm.sh/resource-policy"
"""Annotation that excludes an object from deletion."""
REPOSITORIES = "repositories.yaml"
GRACE = 10.0
"""Seconds that a command gets beyond Helm's own timeout, so that Helm can report it."""
_LOGINS = "registry/config.json"
_ELSEWHERE = (
    "HELM_DRIVER",
    "HELM_KUBEAPISERVER",
    "HELM_KUBEASGROUPS",
    "HELM_KUBEASUSER",
    "HELM_KUBECAFILE",
    "HELM_KUBECONTEXT",
    "HELM_KUBEINSECURE_SKIP_TLS_VERIFY",
    "HELM_KUBETLS_SERVER_NAME",
    "HELM_KUBETOKEN",
)


def environment(folder: Path, repositories: Path | None = None) -> dict[str, str]:
    """Helm's folders, all below one of this project: repositories and caches are separate from the user's.

    `repositories`: the folder of the repository file and the indexes; Helm names an index after the repository
    only. Registry logins are the user's if `pull` gets their file.

    Variables that would point Helm to another cluster or another storage driver are emptied
    (Helm: `pkg/cli/environment.go`).
    """
    index = repositories or folder / "repositories"
    return {
        "HELM_CONFIG_HOME": str(folder / "config"),
        "HELM_CACHE_HOME": str(folder / "cache"),
        "HELM_DATA_HOME": str(folder / "data"),
        "HELM_REPOSITORY_CONFIG": str(index / REPOSITORIES),
        "HELM_REPOSITORY_CACHE": str(index),
        "HELM_REGISTRY_CONFIG": str(folder / "config" / "registry.json"),
        "HELM_CONTENT_CACHE": str(folder / "cache" / "content"),
        **dict.fromkeys(_ELSEWHERE, ""),
    }


def plugin_folders(env: Mapping[str, str]) -> str:
    """Where Helm looks for plugins in that environment, in the format of HELM_PLUGINS."""
    return env.get("HELM_PLUGINS") or str(Path(env.get("HELM_DATA_HOME", "")) / "plugins")


def repositories(used: Mapping[str, str]) -> str:
    """The repository file: written here, because `helm repo add` holds a lock during the download."""
    from tasks.core import yaml

    entries = [{"name": name, "url": url} for name, url in sorted(used.items())]
    return yaml.dump({"apiVersion": "v1", "repositories": entries})


def update(names: Sequence[str], major: int, deadline: float) -> Command:
    """Download the indexes of these repositories concurrently; version 3 needs a flag to fail if one fails."""
    strict = ("--fail-on-repo-update-fail",) if major < 4 else ()
    return Command(argv=("helm", "repo", "update", *names, *strict), deadline=deadline)


def logins(environ: Mapping[str, str]) -> Path | None:
    """Where `helm registry login` stores its logins (Helm: `pkg/helmpath`, `pkg/cli/environment.go`)."""
    if environ.get("HELM_REGISTRY_CONFIG"):
        return Path(environ["HELM_REGISTRY_CONFIG"])
    if environ.get("HELM_CONFIG_HOME"):
        return Path(environ["HELM_CONFIG_HOME"], _LOGINS)
    home = environ.get("HOME", "")
    usual = Path(home, "Library/Preferences" if sys.platform == "darwin" else ".config") if home else None
    place = Path(environ["XDG_CONFIG_HOME"]) if environ.get("XDG_CONFIG_HOME") else usual
    return None if place is None else place / "helm" / _LOGINS


def access(*, plain_http: bool, registry_config: Path | None) -> tuple[str, ...]:
    """Options for pulling a chart from an OCI registry.

    Version 3 falls back to HTTP for every registry that does not answer over HTTPS, version 4 only with `plain_http`.
    Logins that are not in `registry_config` are taken from Docker's config.json.
    """
    plain = ("--plain-http",) if plain_http else ()
    return (*plain, *(("--registry-config", str(registry_config)) if registry_config is not None else ()))


def is_exact(version: str) -> bool:
    """Whether it is one version; to Helm anything else is a range: 1.2, ^1.2.3, >=1.0 (docs: helm, chart versions)."""
    return re.fullmatch(r"v?\d+\.\d+\.\d+(?:[-+].+)?", version) is not None


def pull(chart: str, version: str | None, folder: Path, deadline: float, options: Sequence[str] = ()) -> Command:
    """Download a chart's archive into a folder."""
    wanted = ("--version", version) if version else ()
    return Command(argv=("helm", "pull", chart, *wanted, *options, "--destination", str(folder)), deadline=deadline)


def fault_of(archive: Path) -> str:
    """What is wrong with an archive that was pulled; empty if it is a chart that can be read to its end.

    Helm itself writes whatever a repository sends: a page for logins, half of an archive.
    """
    import tarfile  # only where one was pulled
    import zlib

    try:
        with tarfile.open(archive, "r:gz") as files:
            names = [each.name for each in files]
        return (
            ""
            if any(name.count("/") == 1 and name.endswith("/Chart.yaml") for name in names)
            else "it has no Chart.yaml"
        )
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        begins = archive.read_bytes()[:60].decode("ascii", "replace").strip().split("\n")[0]
        page = f"; it begins with {begins!r}: a web page, perhaps of a proxy or a login" if begins[:1] == "<" else ""
        return f"what came cannot be read: {error}{page}"


def package(chart: Path, folder: Path, deadline: float) -> Command:
    """Package a chart's folder into an archive, in another folder."""
    return Command(argv=("helm", "package", str(chart), "--destination", str(folder)), deadline=deadline)


def dependencies(chart: Path, deadline: float) -> Command:
    """List a chart's dependencies, each with its status."""
    return Command(argv=("helm", "dependency", "list", str(chart)), deadline=deadline)


def _on(
    kubeconfig: Path, namespace: str, words: Sequence[str], *more: str, timeout: float, stdin: str | None = None
) -> Command:
    """A command on a release of a cluster; `more` are positional arguments. `timeout`: Helm's own."""
    place = ("--kubeconfig", str(kubeconfig), "--namespace", namespace)
    return Command(argv=("helm", *words, *place, *more), stdin=stdin, shown_stdin="VALUES", deadline=timeout + GRACE)


def upgrade(
    kubeconfig: Path,
    release: str,
    namespace: str,
    chart: str,
    *,
    values: str,
    fingerprint: str,
    timeout: float,
    validate: bool = True,
    verb: str = "upgrade --install",
    labels: Mapping[str, str] = MappingProxyType({}),
    force_conflicts: bool = False,
    post_renderer: PostRenderer | None = None,
    dry_run: bool = False,
) -> Command:
    """Install or upgrade; the values come through stdin.

    `verb`: `install` only what is absent, `upgrade` only what exists, or either. `labels` besides the fingerprint stay
    with all later revisions.

    `force_conflicts`: take over fields that other managers own. Helm 4 supports it (`--force-conflicts`, from 4.0 on)
    for releases that it applies with server-side apply; for others (created by Helm 3) it rejects the flag, and takes
    them over without it ("forceConflicts enabled when serverSideApply disabled").

    Without `validate` Helm does not load the API's OpenAPI schema to check the objects: that is more than half
    of the CPU time of an installation (0.2 of 0.39 s, measured with Helm 4.3).

    `--reset-values`: where no values are given Helm takes those of the previous revision (Helm 3 and 4: `reuseValues`),
    so those of a release whose last value was removed would stay.

    `dry_run`: nothing is installed; lookups of the chart in the cluster work (`lookup`, `.Capabilities`).

    The result is JSON with the manifest and the values: it may contain secrets. `timeout` (seconds) limits each wait
    of Helm's, which without `--wait` are those for hooks (in version 4: the strategy `hookOnly`).
    """
    reset = ("--reset-values",) if verb.startswith("upgrade") else ()
    labelled = ",".join(f"{name}={text}" for name, text in {FINGERPRINT: fingerprint, **labels}.items())
    made = _on(
        kubeconfig,
        namespace,
        (*verb.split(), release, chart),
        *("--values", "-", *reset, "--labels", labelled, "--timeout", duration(timeout)),
        *(() if validate else ("--disable-openapi-validation",)),
        *(("--force-conflicts",) if force_conflicts else ()),
        *(post_renderer.flags if post_renderer is not None else ()),
        *(("--dry-run=server",) if dry_run else ()),
        *("--output", "json"),
        timeout=timeout,
        stdin=values,
    )
    return made if post_renderer is None else replace(made, env=post_renderer.env)


HOOK = "helm.sh/hook"
"""Annotation of objects that Helm makes at certain moments, which it names."""
_TESTS = frozenset({"test", "test-success", "test-failure"})


def manifest_of(out: str) -> str | None:
    """The manifest in the output of `helm … --output json`, whatever is printed around it; None if there is none."""
    found = _release_of(out)
    return None if found is None else str(found["manifest"] or "")


def hooks_of(out: str) -> list[str]:
    """Manifests of the hooks in the same output, except tests, which do not run."""
    rows = (_release_of(out) or {}).get("hooks") or ()
    return [str(row.get("manifest") or "") for row in rows if not set(row.get("events") or ()) <= _TESTS]


def hooks_among(objects: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same out of rendered objects (Helm: "Chart Hooks")."""
    marks = [(each, str(((each.get("metadata") or {}).get("annotations") or {}).get(HOOK) or "")) for each in objects]
    return [dict(each) for each, text in marks if text and not {name.strip() for name in text.split(",")} <= _TESTS]


def _release_of(out: str) -> dict[str, Any] | None:
    for begin in re.finditer(r"^\{", out, re.MULTILINE):
        try:
            document, _end = json.JSONDecoder().raw_decode(out, begin.start())
        except ValueError:
            continue
        if isinstance(document, dict) and "manifest" in document:
            return document
    return None


def record_name(release: str, revision: int) -> str:
    """The Secret in which Helm stores a revision (helm: `pkg/storage`, `makeKey`)."""
    return f"sh.helm.release.v1.{release}.v{revision}"


def uninstall(kubeconfig: Path, release: str, namespace: str, timeout: float) -> Command:
    """Uninstall a release; no failure if it is gone."""
    more = ("--ignore-not-found", "--timeout", duration(timeout))
    return _on(kubeconfig, namespace, ("uninstall", release), *more, timeout=timeout)


def rollback(
    kubeconfig: Path, release: str, namespace: str, timeout: float, *, force_conflicts: bool = False
) -> Command:
    """Roll back to the previous revision, to recover a release that a killed Helm left pending.

    `force_conflicts`: as for `upgrade`, depending on how the previous revision was applied.
    """
    more = ("--timeout", duration(timeout), *(("--force-conflicts",) if force_conflicts else ()))
    return _on(kubeconfig, namespace, ("rollback", release), *more, timeout=timeout)


def template(release: str, namespace: str, chart: str, *, values: str, kube_version: str, deadline: float) -> Command:
    """Render a chart without a cluster."""
    options = ("--namespace", namespace, "--values", "-", "--include-crds", "--kube-version", kube_version)
    argv = ("helm", "template", release, chart, *options)
    return Command(argv=argv, stdin=values, shown_stdin="VALUES", deadline=deadline)


# -- the files of a chart's folder that Helm does not read (source: helm, `pkg/ignore/rules.go`) -----------------

_DEFAULT = "templates/.?*"
_GROUP = re.compile(r"\[\^")

Ignored = Callable[[str, bool], bool]
"""Whether a path, relative to the chart's folder, is excluded; for a folder (True): with everything in it."""


def helmignore(folder: Path) -> Ignored:
    """The exclusions of a chart's folder. Raises OSError.

    A rule in doubt excludes nothing here, since a file that Helm reads must count: `!` excludes all else in Helm, and
    never includes a file again.
    """
    path = folder / ".helmignore"
    text = path.read_bytes().decode("utf-8-sig", "replace") if path.is_file() else ""
    rules = list(_rules(f"{text}\n{_DEFAULT}"))
    return lambda name, is_folder: any(
        _matches(rule.rstrip("/"), name) for rule in rules if is_folder or not rule.endswith("/")
    )


def _rules(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        rule = line.strip()
        if rule and rule[0] not in "#!" and "**" not in rule and "\\" not in rule and "[!" not in rule:
            yield _GROUP.sub("[!", rule)


def _matches(rule: str, name: str) -> bool:
    """A rule without a slash is compared with the last part of the path; `*` and `?` match no slash."""
    if "/" not in rule:
        return fnmatchcase(name.rpartition("/")[2], rule)
    parts, wanted = name.split("/"), rule.removeprefix("/").split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
