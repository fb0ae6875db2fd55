"""The stand-in for helm: charts, without any repository. They are made up from their names, and packed as real ones."""

from __future__ import annotations

import io
import json
import re
import tarfile
from pathlib import Path

from tasks.rehearsal.program import Exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from tasks.rehearsal.program import Call, Commands, Given

_NEWEST = "1.0.0"
_EXACT = re.compile(r"v?\d+\.\d+\.\d+(?:[-+].+)?")


class Chart:
    """A chart's name, version and own values."""

    def __init__(self, name: str, version: str, values: Mapping[str, Any]) -> None:
        self.name, self.version, self.values = name, version, values


def _load(text: str) -> Any:  # noqa: ANN401 - any YAML value
    """A YAML document; what tasks and stand-ins write is JSON, which is read at a tenth of the cost."""
    try:
        return json.loads(text)
    except ValueError:
        from tasks.core import yaml

        return yaml.load(text)


def find(call: Call, reference: str, version: str) -> Chart:
    """A chart by its reference: a path, an OCI address, or a repository's. Raises `Exit`."""
    path = Path(reference)
    if reference.startswith((".", "/")) or path.exists():
        return _read(path)
    if reference.startswith("oci://"):
        return _fake(reference.rstrip("/").rpartition("/")[2], version)
    repository, _, name = reference.partition("/")
    known = _repositories(call)
    if not name or repository not in known:
        raise Exit(1, f"Error: repo {repository} not found")
    if call.faults.strike("image-missing", f"chart {reference}"):
        raise Exit(1, f'Error: chart "{name}" version "{version}" not found in {known[repository]} repository')
    return _fake(name, version)


def _fake(name: str, version: str) -> Chart:
    """A chart with one Deployment and its Service. Of a range of versions there is the newest of all charts."""
    version = version if _EXACT.fullmatch(version) else _NEWEST
    image = f"docker.io/library/{re.sub(r'[^a-z0-9-]', '-', name.lower())}:{version.lstrip('v')}"
    return Chart(name, version, {"image": image, "replicas": 1})


def _read(path: Path) -> Chart:
    """Of an archive, or a folder. Raises `Exit`."""
    texts: dict[str, str] = {}
    if path.is_dir():
        texts = {name: (path / name).read_text() for name in ("Chart.yaml", "values.yaml") if (path / name).is_file()}
    elif path.is_file():
        try:
            with tarfile.open(path) as archive:
                for member in archive.getmembers():
                    name = member.name.partition("/")[2]
                    file = archive.extractfile(member) if name in ("Chart.yaml", "values.yaml") else None
                    if file is not None:
                        texts[name] = file.read().decode("utf-8", "replace")
        except (tarfile.TarError, OSError, EOFError):
            raise Exit(1, f"Error: file '{path}' does not appear to be a gzipped archive; got 'text/plain'") from None
    if "Chart.yaml" not in texts:
        raise Exit(1, "Error: Chart.yaml file is missing" if path.exists() else f'Error: path "{path}" not found')
    head = _load(texts["Chart.yaml"])
    chart = _fake(str(head["name"]), str(head["version"]))
    image = (_load(texts.get("values.yaml") or "{}") or {}).get("image")
    own = {"image": image} if isinstance(image, str) else {}
    return Chart(chart.name, str(head["version"]), {**chart.values, **own})


def _packed(chart: Chart) -> bytes:
    """As `helm package` packs one; the same bytes each time."""
    head = {"apiVersion": "v2", "name": chart.name, "version": chart.version, "type": "application"}
    files = {
        "Chart.yaml": json.dumps(head),
        "values.yaml": json.dumps(chart.values),
        "templates/NOTES.txt": "REHEARSAL: nothing of this is real\n",
    }
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(f"{chart.name}/{name}")
            info.size, info.mode = len(text.encode()), 0o644
            archive.addfile(info, io.BytesIO(text.encode()))
    return made.getvalue()


def values(call: Call, given: Given) -> dict[str, Any]:
    """All values that are given, the last one winning. Raises `Exit`."""
    made: dict[str, Any] = {}
    for name in given.all("values"):
        try:
            made |= _load(call.stdin.read().decode() if name == "-" else Path(name).read_text(encoding="utf-8")) or {}
        except OSError as error:
            raise Exit(1, f"Error: open {name}: {(error.strerror or '').lower()}") from None
        except (ValueError, TypeError) as error:
            raise Exit(1, f"Error: failed to parse {name}: error converting YAML to JSON: {error}") from None
    return made


def rendered(chart: Chart, release: str, namespace: str, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects of a release of it."""
    merged = {**chart.values, **given}
    name = release if chart.name in release else f"{release}-{chart.name}"[:63]
    labels = {"app.kubernetes.io/name": chart.name, "app.kubernetes.io/instance": release}
    image = merged["image"] if isinstance(merged["image"], str) else str(chart.values["image"])
    replicas = merged.get("replicas", merged.get("replicaCount", 1))
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": chart.name, "image": image}]}}
    meta = {"name": name, "namespace": namespace, "labels": {**labels, "app.kubernetes.io/managed-by": "Helm"}}
    port = {"name": "http", "port": 80, "protocol": "TCP"}
    spec = {
        "replicas": replicas if isinstance(replicas, int) else 1,
        "selector": {"matchLabels": labels},
        "template": pod,
    }
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": labels, "ports": [port]}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec},
    ]


def manifest(objects: list[dict[str, Any]]) -> str:
    """As Helm prints it."""
    return "".join(f"---\n# Source: rehearsed\n{json.dumps(each)}\n" for each in objects)


# -- commands ---------------------------------------------------------------------------------------------


def _repositories(call: Call) -> dict[str, str]:
    path = Path(call.environ.get("HELM_REPOSITORY_CONFIG") or Path.home() / ".config/helm/repositories.yaml")
    found = _load(path.read_text(encoding="utf-8")) if path.is_file() else None
    return {str(each["name"]): str(each["url"]) for each in (found or {}).get("repositories") or ()}


def _update(call: Call, given: Given) -> None:
    known = _repositories(call)
    missing = [name for name in given.args if name not in known]
    if missing or not known:
        raise Exit(1, f"Error: no repositories found matching '{''.join(missing[:1])}'.  Nothing will be updated")
    call.say("Hang tight while we grab the latest from your chart repositories...")
    call.checkpoint()
    call.wait("repo update")
    failed = []
    for name in given.args or known:
        if call.faults.strike("repository-fails", name):
            call.say(f'...Unable to get an update from the "{name}" chart repository ({known[name]}):')
            call.say(f"\tfailed to fetch {known[name]}/index.yaml : 500 Internal Server Error")
            failed.append(known[name])
        else:
            call.say(f'...Successfully got an update from the "{name}" chart repository')
    if failed and (given.on("fail-on-repo-update-fail") or not call.folder.version("helm").startswith("v3.")):
        raise Exit(1, f"Error: failed to update the following repositories: [{' '.join(failed)}]")
    call.say("Update Complete. ⎈Happy Helming!⎈")


def _pull(call: Call, given: Given) -> None:
    reference = given.args[0]
    chart = find(call, reference, given.get("version"))
    call.checkpoint()
    call.wait("chart pull", reference)
    (Path(given.get("destination") or ".") / f"{chart.name}-{chart.version}.tgz").write_bytes(_packed(chart))


def _template(call: Call, given: Given) -> None:
    release, reference = given.args
    chart = find(call, reference, given.get("version"))
    call.wait("template", release)
    call.write(manifest(rendered(chart, release, given.get("namespace") or "default", values(call, given))).encode())


def _package(call: Call, given: Given) -> None:
    chart = _read(Path(given.args[0]))
    target = Path(given.get("destination") or ".") / f"{chart.name}-{chart.version}.tgz"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(_packed(chart))
    call.say(f"Successfully packaged chart and saved it to: {target}")


def _dependencies(call: Call, given: Given) -> None:
    """Of a chart's folder; versions are not compared."""
    folder = Path(given.args[0])
    if not (folder / "Chart.yaml").is_file():
        raise Exit(1, "Error: Chart.yaml file is missing")
    call.say("NAME\tVERSION\tREPOSITORY\tSTATUS")
    for row in _load((folder / "Chart.yaml").read_text(encoding="utf-8")).get("dependencies") or ():
        name = str(row["name"])
        unpacked = (folder / "charts" / name / "Chart.yaml").is_file()
        state = "unpacked" if unpacked else "ok" if any((folder / "charts").glob(f"{name}-*.tgz")) else "missing"
        call.say("\t".join((name, str(row.get("version") or ""), str(row.get("repository") or ""), state)))


_CHART = "version= plain-http registry-config= namespace=,n"
COMMANDS: Commands = {
    "repo update": (_update, "", 0),
    "pull": (_pull, f"{_CHART} destination=,d", 1),
    "template": (_template, f"{_CHART} values=,f include-crds kube-version=", 2),
    "package": (_package, "destination=,d", 1),
    "dependency list": (_dependencies, "", 1),
}
