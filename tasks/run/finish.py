"""The view of a run, and its end: record, summary, exit code, and how to reach the cluster."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.errors import FAILED, INTERRUPTED, OK, LaunchError, attempt
from tasks.core.redact import redact
from tasks.engine import record
from tasks.settings.derived import LEAVE_OUT, LEFT_OUT, push_container
from tasks.settings.origin import shown_option
from tasks.settings.valid import host_ports
from tasks.view.console import err, marks, width_of
from tasks.view.summary import refusal

if TYPE_CHECKING:
    from tasks.engine.record import RunRecord
    from tasks.engine.step import Step
    from tasks.facts.facts import Facts
    from tasks.run.session import Session
    from tasks.run.task import Options
    from tasks.view.launch import Launch, Steady, View
    from tasks.view.summary import Summary

_USUAL = {"http": 80, "https": 443}
_EVERY = ("0.0.0.0", "::")  # noqa: S104 - compared with
_LOOPBACK = ("127.0.0.1", "::1", *_EVERY)


def choose(launch: Launch, environ: Mapping[str, str], *, stdout_isatty: bool, silent: bool) -> View:
    """The view for this environment. Raises `PlanError` for a plan that cannot run.

    GitHub's runners set GITHUB_ACTIONS=true, nearly all others CI: a terminal without a reader
    gets plain lines. TERM=dumb cannot move its cursor.
    """
    from tasks.view.launch import Plain, Silent

    if silent:
        return Silent(launch)
    if environ.get("GITHUB_ACTIONS") == "true":
        from tasks.view.github import GitHub

        file = environ.get("GITHUB_STEP_SUMMARY")
        return GitHub(launch, summary_file=Path(file) if file else None)
    if stdout_isatty and environ.get("TERM", "") != "dumb" and environ.get("CI", "").lower() not in ("true", "1"):
        from tasks.view.live import Live

        return Live(launch)
    return Plain(launch)


def finish(session: Session, view: Steady, ending: Summary, *, acts: bool, agents: int | None) -> int:
    """Write the record, show the summary; returns the exit code.

    `acts`: the record also becomes latest.json. `agents`: of a launch, which is added to the benchmark log if it
    succeeded; None for other runs.
    """
    lost = attempt(
        f"the record of this run could not be written below {session.settings.log_dir}",
        lambda: _write(session, ending.run, acts=acts, agents=agents),
    )
    view.conclude(ending)
    err(f"note: {each}" for each in lost)
    return _status(ending.run)


def show_error(error: LaunchError) -> None:
    """Show an expected error on standard error."""
    err(refusal(error, width=width_of(sys.stderr), marks=marks(sys.stderr.encoding)))


def _write(session: Session, run: RunRecord, *, acts: bool, agents: int | None) -> None:
    folder = Path(session.settings.log_dir)
    name = session.log_dir.name if session.log_dir is not None else None
    record.write(run, folder, redact=redact, acts=acts, name=name)
    if agents is not None and run.good:
        block = redact(record.benchmark_block(run, agents=agents))
        record.append_benchmark(folder, f"{session.note}\n{block}" if session.note else block)


def _status(run: RunRecord) -> int:
    """The code of the first failure; steps aborted by it have none."""
    if run.outcome == "interrupted":
        return INTERRUPTED
    if run.good:
        return OK
    return int(getattr(run.failed[0].error, "status", FAILED)) if run.failed else FAILED


# How the cluster is reached


@dataclass(frozen=True, kw_only=True)
class Access:
    """How to reach what exists; empty fields for what does not."""

    context: str = ""
    kubectl: str = ""
    """The command prefix for kubectl."""
    addresses: tuple[str, ...] = ()
    push: str = ""
    """Host and port of the push registry, for docker and pods alike."""
    left_out: tuple[str, ...] = ()
    """What was skipped on purpose, each with the reason."""
    next: str = ""
    """The next command."""

    def rows(self) -> tuple[tuple[str, str], ...]:
        """Labels and texts; without empty ones."""
        push = f"`docker push {self.push}/NAME`; pods name the image so, too" if self.push else ""
        command, comma, when = self.next.partition(", when ")
        found = (
            ("context", f"{self.context}: `{self.kubectl} get pods --all-namespaces`" if self.context else ""),
            ("open", "  ".join(self.addresses)),
            ("push images", push),
            ("left out", "; ".join(self.left_out)),
            ("go on with", f"`{command}`{comma}{when}"),
        )
        return tuple((label, text) for label, text in found if text)


def access(facts: Facts, steps: Sequence[Step], options: Options, *, exists: bool, as_configured: bool) -> Access:
    """How to reach the cluster; `exists`: it runs by now, `as_configured`: nothing of the plan is left to do.

    `steps` are those of the plan: what they leave out is listed.
    """
    more = _same_options(options)
    if not exists:
        return Access(next=f"invoke up{more}")
    left = [step for step in steps if step.name.startswith(LEFT_OUT) and step.skip is not None]
    unset = any(step.task == "secrets" for step in left)
    if not as_configured:
        go_on = f"invoke plan --diff{more}"
    elif unset:
        go_on = f"invoke secrets{more}, when the secrets that were left out have values"
    else:
        go_on = f"invoke health{more}"
    return Access(
        context=facts.context,
        kubectl=_kubectl(facts, facts.context),
        addresses=_addresses(facts),
        push=_push(facts),
        left_out=tuple(f"{_left(step)}: {step.skip}" for step in left),
        next=go_on,
    )


def _left(step: Step) -> str:
    """What a step leaves out, for display."""
    secret = step.name.removeprefix(LEAVE_OUT)
    return f"secret {secret}" if secret != step.name else step.task


def _kubectl(facts: Facts, context: str) -> str:
    """With the user's kubeconfig if it has the cluster, else with the private one."""
    from tasks.clients.kubeconfig import current_context, has_entry, target

    if not facts.owns_cluster:
        return f"kubectl --context {shlex.quote(context)}"
    private = facts.paths.kubeconfig
    entry = private.read_text(encoding="utf-8") if private.exists() else ""
    path = target(facts.environ)
    if not entry or not has_entry(path, entry):
        return f"kubectl --kubeconfig {shlex.quote(str(private))}"
    return "kubectl" if current_context(path) == context else f"kubectl --context {context}"


def _addresses(facts: Facts) -> tuple[str, ...]:
    """URLs of published ports."""
    ports = facts.outputs.ports or facts.ports
    if not facts.owns_cluster or ports is None:
        return ()
    cluster = facts.settings.cluster
    bound = cluster.bind_address
    address = f"[{bound}]" if ":" in bound else bound
    host = cluster.domain if cluster.domain != "localhost" or bound in _LOOPBACK else address
    found = []
    for scheme, port in (("http", ports.http), ("https", ports.https)):
        if port is not None:
            found.append(f"{scheme}://{host}" + ("" if port == _USUAL[scheme] else f":{port}"))
    found += [f"{host}:{port}" for text in cluster.ports.extra for port in host_ports(text)]
    return tuple(found)


def _push(facts: Facts) -> str:
    if not facts.owns_cluster or not facts.settings.registries.push:
        return ""
    from tasks.facts.registries import port_of

    port = port_of(facts, push_container(facts.settings))
    return f"localhost:{port}" if port else ""


def _same_options(options: Options) -> str:
    """The options of this call that select the same cluster and settings."""
    given = [("--profile", options.profile), *(("--set", shown_option(each)) for each in options.sets)]
    given += [("--engine", options.engine if options.engine != "k3d" else None), ("--context", options.context)]
    return "".join(f" {name} {shlex.quote(value)}" for name, value in given if value)
