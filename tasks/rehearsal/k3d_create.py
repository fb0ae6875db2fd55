"""`k3d cluster create` and `k3d node create`."""

from __future__ import annotations

from tasks.rehearsal import containers, k3d_config, node
from tasks.rehearsal.call import Exit
from tasks.rehearsal.docker_run import size
from tasks.rehearsal.k3d_kubeconfig import update_default
from tasks.rehearsal.k3d_nodes import checked, make, names, network
from tasks.rehearsal.k3d_start import begin, limit, start, until
from tasks.rehearsal.k3d_words import fatal, info

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tasks.rehearsal.call import Call
    from tasks.rehearsal.flags import Given
    from tasks.rehearsal.k3d_config import Config


def _create(call: Call, given: Given) -> None:
    path = given.get("config")
    config = k3d_config.from_file(path, call.environ) if path else k3d_config.from_flags(call, given)
    name = str(k3d_config.at(config, "metadata.name") or (given.args[0] if given.args else "k3s-default"))
    own = names(config)
    with call.engine.change() as doc:
        if containers.labelled(doc, cluster=name):
            raise fatal(f"Failed to create cluster '{name}' because a cluster with that name already exists")
        checked(config, own)
        info(call, "Prep: Network")
        made = network(doc, call, name)
        info(call, f"Created network 'k3d-{name}'")
        volume = f"k3d-{name}-images"
        doc["volumes"][volume] = {"created": call.now(), "labels": {"app": "k3d", "k3d.cluster": name}}
        info(call, f"Created image volume {volume}")
    call.middle()
    try:
        make(call, config, name, own, made)
        _start(call, config, name)
    except Exit as end:
        raise _failed(call, config, name, end) from None
    update_default(call, config, name)
    info(call, f"Cluster '{name}' created successfully!")
    call.say(f"kubectl cluster-info --context k3d-{name}")


def _failed(call: Call, config: Config, name: str, end: Exit) -> Exit:
    """What a creation that has failed leaves; k3d's rollback takes it away, unless that is off."""
    from tasks.rehearsal.k3d_cluster import delete

    took = call.now() - call.began
    error = end.text.partition("] ")[2] or end.text
    told = f"ERRO[{int(took):04d}] Failed Cluster Start: {error}"
    if k3d_config.at(config, "options.k3d.disableRollback"):
        return Exit(1, f"{told}\nFATA[{int(took):04d}] Cluster creation FAILED, rollback deactivated.")
    delete(call, name)
    return Exit(1, f"{told}\nFATA[{int(took):04d}] Cluster creation FAILED, all changes have been rolled back!")


def _start(call: Call, config: Config, name: str) -> None:
    end = call.began + limit(str(k3d_config.at(config, "options.k3d.timeout") or ""))
    start(call, name, end)
    call.wait_until(call.began + call.times.seconds("create returns"))


def _add(call: Call, given: Given) -> None:
    """`k3d node create`: agents alone."""
    own, name = given.args[0], given.get("cluster") or "k3s-default"
    if given.get("role", "agent") != "agent":
        raise fatal(f"Unknown node role '{given.get('role')}'\n")
    info(call, f"Adding 1 node(s) to the runtime local cluster '{name}'...")
    with call.engine.change() as doc:
        there = [
            *containers.labelled(doc, cluster=name, role="agent"),
            *containers.labelled(doc, cluster=name, role="server"),
        ]
        if not there:
            raise fatal(
                f"failed to add 1 node(s) to the runtime local cluster '{name}': Failed to find specified cluster"
            )
        model = there[0]
        copied = model["labels"]["k3d.role"] == "agent"
        labels = {
            **model["labels"],
            "k3d.role": "agent",
            **dict(row.partition("=")[::2] for row in given.all("runtime-label")),
        }
        words = list(model["cmd"]) if copied else ["agent"]
        words += [*given.all("k3s-arg")]
        words += [word for row in given.all("k3s-node-label") for word in ("--node-label", row)]
        made = containers.make(
            doc,
            f"k3d-{own}-0",
            model["image"],
            call.now(),
            labels=labels,
            env=list(model["env"]) if copied else ["K3S_TOKEN=rehearsal", f"K3S_URL=https://k3d-{name}-server-0:6443"],
            cmd=words,
            entrypoint=["/bin/k3d-entrypoint.sh"],
            binds=[bind for bind in model["binds"] if copied or "images" in bind],
            networks=[f"k3d-{name}"],
            restart="unless-stopped",
            memory=size(given.get("memory")) if given.get("memory") else model["memory"] if copied else 0,
            files=dict(model["files"]) if copied else {},
        )
    call.middle()
    begin(call, made["name"])
    until(call, made["name"], "ready", node.REGISTERED, call.began + limit(given.get("timeout")))
    call.wait_until(call.began + call.times.seconds("add agent"))
    info(call, "Successfully created 1 node(s)!")


COMMANDS = {"cluster create": _create, "node create": _add}
