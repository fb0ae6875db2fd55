"""The stand-in for kubectl: apply, create, delete, get --raw, wait, and its own configuration."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from tasks.rehearsal import flags
from tasks.rehearsal.call import Exit
from tasks.rehearsal.place import VERSIONS
from tasks.rehearsal.reaching import Cluster, Refused, documents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tasks.rehearsal.call import Call
    from tasks.rehearsal.flags import Given

_GLOBAL = (
    "kubeconfig=s context=s namespace,n=s cluster=s user=s request-timeout=s v=i warnings-as-errors token=s server,s=s "
    "insecure-skip-tls-verify as=s as-group=l cache-dir=s"
)
_FILES = "filename,f=l recursive,R kustomize,k=s dry-run=s output,o=s field-manager=s selector,l=s all validate=s"
_KNOWN = {
    "apply": f"{_FILES} server-side force-conflicts force wait prune overwrite timeout=d",
    "create": f"{_FILES} save-config edit",
    "delete": f"{_FILES} ignore-not-found wait now force grace-period=i timeout=d cascade=s",
    "get": "raw=s output,o=s all-namespaces,A selector,l=s field-selector=s watch,w no-headers show-labels",
    "wait": "for=s timeout=d all all-namespaces,A selector,l=s filename,f=l output,o=s",
    "label": "overwrite all list selector,l=s filename,f=l",
    "kustomize": "enable-helm load-restrictor=s output,o=s",
    "version": "client output,o=s",
    "config view": "minify flatten raw output,o=s",
    "config get-contexts": "output,o=s no-headers",
}
_LOOK = 0.05


def kubectl(call: Call) -> None:
    """Raises `Exit`."""
    words = [word for word in call.args if not word.startswith("-")]
    name = next((each for each in _KNOWN if _begins(call.args, each.split())), "")
    if not name:
        told = next((word for word in words), "")
        raise Exit(1, f'error: unknown command "{told}" for "kubectl"')
    try:
        given = flags.read(call.args, flags.table(f"{_KNOWN[name]} {_GLOBAL}"))
    except flags.Wrong as wrong:
        raise Exit(1, f"error: {wrong}\nSee 'kubectl {name} --help' for usage.") from None
    given.args = given.args[len(name.split()) :]
    if name == "version":
        call.say(json.dumps({"clientVersion": {"gitVersion": VERSIONS["kubectl"], "platform": "REHEARSAL"}}))
        return
    try:
        _ACTS[name](call, given)
    except Refused as refused:
        raise Exit(1, refused.text) from None


def _begins(args: tuple[str, ...], words: list[str]) -> bool:
    """Whether the words that are no flags, nor values of the global ones, begin so."""
    bare: list[str] = []
    rest = list(args)
    while rest and len(bare) < len(words):
        word = rest.pop(0)
        if word in ("--kubeconfig", "--context", "--namespace", "-n"):
            rest = rest[1:]
        elif not word.startswith("-"):
            bare.append(word)
    return bare == words


def _objects(call: Call, given: Given) -> list[dict[str, Any]]:
    found = []
    for name in given.all("filename"):
        text = call.stdin.read().decode() if name == "-" else Path(name).read_text(encoding="utf-8")
        found += documents(text)
    if not found:
        raise Exit(1, "error: no objects passed to apply")
    return found


def _shown(obj: dict[str, Any]) -> str:
    group = str(obj["apiVersion"]).rpartition("/")[0]
    kind = str(obj["kind"]).lower()
    return f"{kind}.{group}/{obj['metadata']['name']}" if group else f"{kind}/{obj['metadata']['name']}"


def _namespace(obj: dict[str, Any], given: Given) -> str:
    return str(obj["metadata"].get("namespace") or given.get("namespace") or "default")


def put(cluster: Cluster, obj: dict[str, Any], namespace: str, manager: str, *, dry: bool = False) -> int:
    """Server-side apply of one object; the API's code. Raises `Refused`, `Exit`."""
    query = f"?fieldManager={manager}&force=true" + ("&dryRun=All" if dry else "")
    code, text = cluster.ask("PATCH", cluster.path(obj, namespace) + query, json.dumps(obj))
    if code >= 400:
        raise Refused(text)
    return code


def _apply(call: Call, given: Given) -> None:
    call.wait("kubectl")
    call.middle()
    cluster, wrong = Cluster(call, given.get("kubeconfig")), []
    dry, server = given.get("dry-run") == "server", given.on("server-side")
    manager = given.get("field-manager") or ("kubectl" if server else "kubectl-client-side-apply")
    for obj in _objects(call, given):
        try:
            code = put(cluster, obj, _namespace(obj, given), manager, dry=dry)
        except Refused as refused:
            wrong.append(refused.text)
            continue
        except Exit as end:
            wrong.append(end.text)
            continue
        word = "serverside-applied" if server else "created" if code == 201 else "configured"
        call.say(f"{_shown(obj)} {word}" + (" (server dry run)" if dry else ""))
    if wrong:
        raise Exit(1, "\n".join(wrong))


def _create(call: Call, given: Given) -> None:
    call.wait("kubectl")
    call.middle()
    cluster = Cluster(call, given.get("kubeconfig"))
    if given.args[:1] in (["namespace"], ["ns"]):
        wanted: list[dict[str, Any]] = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in given.args[1:]
        ]
    else:
        wanted = _objects(call, given)
    for obj in wanted:
        if cluster.get(cluster.path(obj, _namespace(obj, given))) is not None:
            plural = cluster.path(obj, _namespace(obj, given)).split("/")[-2]
            told = f'{plural} "{obj["metadata"]["name"]}" already exists'
            raise Exit(1, f"Error from server (AlreadyExists): {told}")
        put(cluster, obj, _namespace(obj, given), "kubectl-create")
        call.say(f"{_shown(obj)} created")


def _delete(call: Call, given: Given) -> None:
    call.wait("kubectl")
    call.middle()
    cluster = Cluster(call, given.get("kubeconfig"))
    if given.all("filename"):
        wanted = [(_shown(obj), cluster.path(obj, _namespace(obj, given))) for obj in _objects(call, given)]
    else:
        kind, *names = [part for word in given.args for part in word.split("/")]
        wanted = [
            (f"{kind}/{name}", _place(cluster, kind, name, given.get("namespace") or "default")) for name in names
        ]
    for shown, path in wanted:
        code, text = cluster.ask("DELETE", path)
        if code == 404 and given.on("ignore-not-found"):
            continue
        if code >= 400:
            raise Refused(text)
        kind, _, name = shown.partition("/")
        call.say(f'{kind} "{name}" deleted')


def _place(cluster: Cluster, kind: str, name: str, namespace: str) -> str:
    """The path of an object of a kind as people write it. Raises `Exit`."""
    for root in ("/api/v1", "/apis/apps/v1", "/apis/batch/v1", "/apis/networking.k8s.io/v1", "/apis/storage.k8s.io/v1"):
        for row in (cluster.get(root) or {}).get("resources") or ():
            if kind.lower() in (row["name"], row["kind"].lower()) and "/" not in row["name"]:
                where = f"/namespaces/{namespace}" if row.get("namespaced") else ""
                return f"{root}{where}/{row['name']}" + (f"/{name}" if name else "")
    raise Exit(1, f'error: the server doesn\'t have a resource type "{kind}"')


def _get(call: Call, given: Given) -> None:
    call.wait("kubectl")
    cluster, raw = Cluster(call, given.get("kubeconfig")), given.get("raw")
    if raw:
        code, text = cluster.ask("GET", raw)
        if code >= 400:
            raise Refused(text if text.startswith("{") else json.dumps({"reason": "InternalError", "message": text}))
        call.write(text.encode())
        return
    kind, *names = [part for word in given.args for part in word.split("/")]
    path = _place(cluster, kind, names[0] if names else "", given.get("namespace") or "default")
    if given.on("all-namespaces"):
        path = path.replace(f"/namespaces/{given.get('namespace') or 'default'}", "")
    code, text = cluster.ask("GET", path)
    if code >= 400:
        raise Refused(text)
    found = json.loads(text)
    if given.get("output") == "json":
        call.say(text)
        return
    for each in found.get("items", [found]):
        call.say(f"{kind}/{each['metadata']['name']}" if given.get("output") == "name" else each["metadata"]["name"])


def _wait(call: Call, given: Given) -> None:
    """`--for=condition=X`: until all of them have it."""
    cluster, wanted = Cluster(call, given.get("kubeconfig")), given.get("for").partition("=")[2]
    end = call.now() + flags.seconds(given.get("timeout") or "30s")
    kind, *names = [part for word in given.args for part in word.split("/")]
    while True:
        items: list[dict[str, Any]] = []
        for name in names or [""]:
            found = cluster.get(_place(cluster, kind, name, given.get("namespace") or "default"))
            items += [] if found is None else found.get("items", [found])
        late = [each["metadata"]["name"] for each in items if not _has(each, wanted)]
        if items and not late:
            for each in items:
                call.say(f"{kind}/{each['metadata']['name']} condition met")
            return
        if call.now() > end:
            raise Exit(1, "\n".join(f"error: timed out waiting for the condition on {kind}/{name}" for name in late))
        time.sleep(_LOOK)


def _has(obj: dict[str, Any], condition: str) -> bool:
    rows = (obj.get("status") or {}).get("conditions") or ()
    return any(row["type"].lower() == condition.lower() and row["status"] == "True" for row in rows)


def _label(call: Call, given: Given) -> None:
    call.wait("kubectl")
    cluster = Cluster(call, given.get("kubeconfig"))
    kind, name, *pairs = [part for word in given.args for part in ([word] if "=" in word else word.split("/"))]
    path = _place(cluster, kind, name, given.get("namespace") or "default")
    obj = cluster.get(path)
    if obj is None:
        raise Exit(1, f'Error from server (NotFound): {kind} "{name}" not found')
    labels = dict(pair.partition("=")[::2] for pair in pairs)
    body = {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "metadata": {key: obj["metadata"][key] for key in ("name", "namespace") if key in obj["metadata"]},
    }
    body["metadata"]["labels"] = labels
    put(cluster, body, str(obj["metadata"].get("namespace", "")), "kubectl-label")
    call.say(f"{kind}/{name} labeled")


def _kustomize(call: Call, given: Given) -> None:
    """By the real kubectl, where there is one: rendering reaches no cluster."""
    import shutil
    import subprocess

    folders = [each for each in call.environ.get("PATH", "").split(os.pathsep) if Path(each) != call.place.bin]
    real = shutil.which("kubectl", path=os.pathsep.join([str(Path(__file__).parents[2] / ".tools" / "bin"), *folders]))
    if real is None:
        raise Exit(1, "error: REHEARSAL: a kustomization is rendered by the real kubectl, and there is none")
    argv = [real, "kustomize", *given.args]
    done = subprocess.run(argv, capture_output=True, check=False, stdin=subprocess.DEVNULL)  # noqa: S603 - as asked for
    call.write(done.stdout)
    if done.returncode:
        raise Exit(done.returncode, done.stderr.decode("utf-8", "replace").strip())


def _contexts(call: Call, _given: Given) -> None:
    from tasks.core import yaml

    path = Path(call.environ.get("KUBECONFIG", "").split(":")[0] or "/nonexistent")
    document = yaml.load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for each in (document or {}).get("contexts") or ():
        call.say(str(each["name"]))


def _view(call: Call, given: Given) -> None:
    path = Path(given.get("kubeconfig") or call.environ.get("KUBECONFIG", "").split(":")[0] or "/nonexistent")
    text = path.read_text(encoding="utf-8") if path.is_file() else "apiVersion: v1\nkind: Config\n"
    wanted = given.get("context")
    if wanted and f"name: {wanted}" not in text and f'"name": "{wanted}"' not in text:
        raise Exit(1, f'error: context "{wanted}" does not exist')
    call.write(text.encode())


_ACTS = {
    "apply": _apply,
    "create": _create,
    "delete": _delete,
    "get": _get,
    "wait": _wait,
    "label": _label,
    "kustomize": _kustomize,
    "config get-contexts": _contexts,
    "config view": _view,
}
