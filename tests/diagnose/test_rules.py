"""The catalogue, by its own examples, and the diagnosis of a text."""

import re
import string
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.core.redact import conceal
from tasks.diagnose.command import explain
from tasks.diagnose.node import node_death
from tasks.diagnose.pods import diagnose_scheduling, known
from tasks.diagnose.rules import COMMANDS, Rule, clean, fragments, markdown, recognise, rules, short
from tasks.process.command import Command, CommandFailed, Completed, DeadlinePassed

_FILES = (*COMMANDS, "pods", "scheduling")
_PAGE = Path(__file__).parents[2] / "docs" / "reference" / "causes.md"
_WRITE = "python -c 'from tasks.diagnose.rules import markdown; print(markdown(), end=\"\")' > docs/reference/causes.md"
_GIVEN = {
    "pods": {"subject", "message", "reason", "use", "image", "since", "times", "code", "pod", "container", "namespace"}
    | {"name", "containers", "result"},
    "scheduling": {"subject", "message"},
}
"""Parts of a message that `tasks.diagnose.pods` gives."""
_BY_STATE = {"image-pull", "image-pulling", "out-of-memory", "crash", "pod-failed", "probe"} | {
    "container-ends",
    "init-running",
}
"""Said by fields of an object, not by a text: tested in test_pods.py and test_events.py."""
_ALL = [(file, rule) for file in _FILES for rule in rules(file)]
_EXAMPLES = [
    pytest.param(file, rule, example, id=f"{file}-{rule.id}") for file, rule in _ALL for example in rule.examples
]


def failed(program: str, err: str, *, out: str = "", code: int = 1) -> CommandFailed:
    """The failure of a command."""
    done = Completed(command=Command(argv=(program, "x")), code=code, out=out, err=err, seconds=1.0)
    return CommandFailed(done)


def explained(program: str, err: str, *, out: str = "", code: int = 1) -> CommandFailed:
    """The same with its cause."""
    return explain(failed(program, err, out=out, code=code), program)


@pytest.mark.parametrize(("file", "rule", "example"), _EXAMPLES)
def test_an_example_finds_its_own_cause_and_no_earlier_one(file: str, rule: Rule, example: Mapping[str, Any]) -> None:
    program = example.get("program", rule.where[0] if rule.where else "")
    code = example.get("code", 1)
    if file == "scheduling":
        found = diagnose_scheduling("pod web/app-1", example["text"])
    elif file == "pods":
        found = known(program, example["text"], "pod web/app-1", image="app:1", name="app", namespace="web")
    elif program == "node":
        found = node_death("k3d-dev-agent-0", code, False, example["text"]).diagnosis
    else:
        found = explained(program, example["text"], code=code).diagnosis
    output = f"{found.what}\n{found.why}\n{found.fix}"
    assert (found.cause, found.transient) == (rule.id, rule.transient), output
    for part in example.get("says", ()):
        assert part in output
    assert "…" not in output.replace("(local-path, …)", "").replace("kubectl get …", "").replace(".apiserver, …", ""), (
        output
    )
    assert re.search(r"\{[a-z]+\}", output) is None, output


def test_every_cause_has_an_example() -> None:
    without = {(file, rule.id) for file, rule in _ALL if not rule.examples}
    met = {(file, rule.id) for file, rule in _ALL if rule.examples}
    assert without - met <= {("pods", cause) for cause in _BY_STATE}


@pytest.mark.parametrize(("file", "rule"), _ALL, ids=lambda value: value if isinstance(value, str) else value.id)
def test_texts_use_only_what_is_there(file: str, rule: Rule) -> None:
    texts = (rule.what, rule.why, rule.fix)
    used = {name for text in texts for _, name, _, _ in string.Formatter().parse(text) if name}
    for pattern in rule.patterns or ("",):
        there = set(re.compile(pattern).groupindex) | set(rule.otherwise) | {"line"} | _GIVEN.get(file, set())
        assert used <= there, (pattern, used - there)
    assert file in _GIVEN or rule.patterns or rule.codes
    assert re.fullmatch(
        r"[a-z0-9]+(-[a-z0-9]+)+|proxy|dns|clock|forbidden|conflict|killed|crash|evicted|probe|taint"
        r"|unschedulable",
        rule.id,
    )
    assert rule.fix
    assert not any("${" in text for text in (*texts, *rule.patterns))


def test_fragments_are_included() -> None:
    (rule,) = (each for each in rules("node") if each.id == "cgroup-missing")
    assert fragments("node")["delegate"] in rule.fix


def test_the_page_is_of_this_catalogue() -> None:
    assert _PAGE.read_text() == markdown(), f"write it again: {_WRITE}"


def test_what_happened_stays_and_the_rest_is_filled_in() -> None:
    error = explained("docker", "Error response from daemon: context canceled\n")
    assert error.what == "docker ended with code 1: Error response from daemon: context canceled"
    assert error.why.startswith("the engine cancelled the request: ")
    assert (error.cause, error.transient, error.exit_code) == ("engine-cancelled", True, 1)


def test_without_a_known_cause_it_says_what_it_said() -> None:
    done = failed("helm", "Error: something new\n").done
    after = explain(CommandFailed(done, why="a", fix="b", transient=True), "helm")
    assert (after.cause, after.why, after.fix, after.transient) == ("", "a", "b", True)
    assert dict(after.diagnosis.details) == {}


def test_a_deadline_stays_a_deadline() -> None:
    done = failed("docker", "dial tcp: lookup ghcr.io on 10.0.0.2:53: no such host\n", code=-15).done
    after = explain(DeadlinePassed(done, 7.0), "docker")
    assert isinstance(after, DeadlinePassed)
    assert str(after).startswith("docker did not end within 7 s\n")
    assert (after.cause, after.transient) == ("dns", True)
    plain = explain(DeadlinePassed(failed("docker", "", code=-9).done, 7.0), "docker")
    assert (plain.cause, plain.fix) == ("", "see its last lines; a longer deadline is a setting (timeouts.*)")


@pytest.mark.parametrize(
    ("program", "text", "cause"),
    [
        ("/usr/bin/docker", "toomanyrequests: x", "rate-limit"),
        ("C:/docker/docker.exe", "toomanyrequests: x", "rate-limit"),
        ("kubectl", "Error response from daemon: context canceled", ""),
        ("docker", "cannot re-use a name that is still in use", ""),
        (  # a port inside a node is no port of the host
            "k3d",
            (
                "WARN[0022] warning: encountered fatal log from node k3d-a-server-0 (retrying 0/10): level=fatal "
                'msg="listen tcp 0.0.0.0:10250: bind: address already in use"'
            ),
            "node-port",
        ),
        (  # of several objects the one that no repetition heals counts
            "kubectl",
            (
                'error: Operation cannot be fulfilled on configmaps "x": the object has been modified; please apply\n'
                'The Secret "y" is invalid: type: Invalid value: "Opaque": field is immutable\n'
            ),
            "field-immutable",
        ),
    ],
)
def test_a_cause_belongs_to_programs(program: str, text: str, cause: str) -> None:
    assert explained(program, text).cause == cause


def test_both_streams_are_searched() -> None:
    out = (
        'Hang tight while we grab the latest...\n...Unable to get an update from the "jetstack" chart repository '
        '(https://charts.jetstack.io):\n\tGet "https://charts.jetstack.io/index.yaml": dial tcp: lookup '
        "charts.jetstack.io on 127.0.0.53:53: no such host\n"
    )
    error = explained(
        "helm", "Error: failed to update the following repositories: [https://charts.jetstack.io]", out=out
    )
    assert (error.cause, error.transient) == ("dns", True)


@pytest.mark.parametrize("code", [-9, 137])
def test_an_exit_code_counts_where_no_text_does(code: int) -> None:
    assert explained("helm", "", code=code).cause == "killed"
    assert explained("docker", "no space left on device", code=code).cause == "disk-full"


def test_what_was_captured_is_in_the_details() -> None:
    error = explained("k3d", "Bind for 0.0.0.0:8080 failed: port is already allocated")
    assert dict(error.diagnosis.details) == {"port": "8080"}


def test_no_secret_is_repeated() -> None:
    conceal("hunter2-the-token")
    error = explained("helm", "Error: failed to parse values.yaml: yaml: line 2: hunter2-the-token is no mapping")
    assert error.cause == "values-unreadable"
    assert "hunter2" not in str(error)
    assert "***" in error.why


def test_nothing_of_a_quiet_stdout_is_repeated() -> None:
    done = replace(failed("helm", "Error: x\n", out="no space left on device: a manifest\n").done, quiet=True)
    assert explain(CommandFailed(done), "helm").cause == ""
    error = explain(CommandFailed(replace(done, err="Error: no space left on device\n")), "helm")
    assert (error.cause, error.why) == ("disk-full", "the disk is full: Error: no space left on device")


def test_output_is_searched_without_colours_and_controls() -> None:
    assert clean("\x1b[31mFATA\x1b[0m[0002] a\r\nb\x07c\td") == "FATA[0002] a\nbc\td"


def test_parts_are_one_line_and_not_long() -> None:
    assert short(" a\n  b ") == "a b"
    assert len(short("x" * 999)) == 300
    assert short("x" * 999).endswith("…")


def test_much_output_is_searched_in_a_moment() -> None:
    noise = "A" * 400_000 + "\n" + 'level=info msg="pulled image x/y:1 from registry 10.0.0.1:5000 in 12 s"\n' * 3000
    begin = time.monotonic()
    assert explained("helm", noise).cause == ""
    assert explained("k3d", noise + "port is already allocated\n").cause == "port-taken"
    assert time.monotonic() - begin < 5


def test_a_part_that_is_missing_leaves_a_gap_and_no_traceback() -> None:
    found = recognise([Rule(id="x", patterns=("a(?P<b>c)?",), what="{b} {nothing}", why="{line}", fix="f")], "za")
    assert found is not None
    assert found.reason == "… …: za"


def test_what_is_missing_may_be_said_otherwise() -> None:
    rule = Rule(id="x", patterns=("a(?P<b>c)?",), what="{b}", fix="f", otherwise={"b": "from {line}"})
    found, captured = recognise([rule], "za"), recognise([rule], "ac")
    assert found is not None
    assert captured is not None
    assert (found.what, dict(found.details)) == ("from za", {})
    assert (captured.what, dict(captured.details)) == ("c", {"b": "c"})
