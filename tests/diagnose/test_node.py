"""Why nodes end; the causes themselves have examples in node.yaml."""

import pytest

from tasks.diagnose.node import is_last, node_death

STARTED = 'time="2026-11-24T10:00:00Z" level=info msg="Starting k3s v1.32.3+k3s1 (079ffa8d)"\n'


def test_the_line_that_tells_it_may_be_far_above_the_end() -> None:
    usage = "NAME:\n   k3s server - Run management server\n" + "   --help, -h  show help\n" * 150
    error = node_death("k3d-dev-agent-0", 1, False, f"Incorrect Usage: flag provided but not defined: -foo\n{usage}")
    assert error.what == "the node k3d-dev-agent-0 has ended: k3s does not know the flag --foo"
    assert (error.cause, error.exit_code, error.transient) == ("k3s-flag", 1, False)


def test_an_exit_code_counts_where_the_log_says_nothing() -> None:
    error = node_death("n", 137, False, STARTED + 'level=info msg="Running kube-apiserver --advertise-port=6443"\n')
    assert (error.cause, error.exit_code, error.transient) == ("node-memory", 137, True)


def test_the_node_is_named_in_the_fix() -> None:
    assert (
        "secret k3d-a-agent-0.node-password.k3s"
        in node_death("k3d-a-agent-0", 1, False, 'level=error msg="Node password rejected, duplicate hostname"\n').fix
    )


def test_of_several_runs_the_last_counts() -> None:
    first = STARTED + 'level=fatal msg="starting kubernetes: joining etcd cluster: etcdserver: unhealthy cluster"\n'
    last = STARTED + 'level=fatal msg="kubelet exited: failed to parse kubelet flag: unknown flag: --x"\n'
    assert "--x" in str(node_death("n", 1, False, first + last))
    assert "unhealthy" in str(node_death("n", 1, False, last + first))


def test_a_run_that_has_not_ended_yet_does_not_hide_why_the_one_before_it_did() -> None:
    before = STARTED + 'level=fatal msg="kubelet exited: failed to parse kubelet flag: unknown flag: --x"\n'
    assert "--x" in str(node_death("n", 1, False, before + STARTED))


def test_a_last_line_counts_before_errors_around_it() -> None:
    log = (
        'level=error msg="Failed to validate connection to cluster at https://s:6443: connection refused"\n'
        'level=fatal msg="kubelet exited: failed to parse kubelet flag: unknown flag: --x"\n'
        "E1124 10:00:09.1 1 reflector.go:1] listen tcp 0.0.0.0:1: bind: address already in use\n"
    )
    assert "--x" in str(node_death("n", 1, False, log))


def test_an_unknown_end_repeats_the_last_lines_and_where_to_look() -> None:
    error = node_death("k3d-dev-server-0", 2, True, STARTED + 'level=fatal msg="the sky fell"\nlevel=info msg=bye\n')
    assert error.what == "the node k3d-dev-server-0 has ended with code 2, repeatedly"
    assert error.why == "its log says: the sky fell"
    assert error.fix == "docker logs k3d-dev-server-0"
    assert (error.transient, error.cause) == (True, "")


def test_an_empty_log() -> None:
    error = node_death("n", 1, False, "")
    assert (error.why, error.transient) == ("its log is empty", True)


def test_lines_that_say_nothing_are_not_taken_for_a_cause() -> None:
    error = node_death(
        "n", 1, False, 'level=info msg="a"\nlevel=info msg="b"\nlevel=info msg="c"\nlevel=info msg="d"\n'
    )
    assert error.why == "its log says: b / c / d"


@pytest.mark.parametrize(
    "line",
    [
        'time="2026-11-24T10:00:09Z" level=fatal msg="x"',
        'time="2026-11-24T10:00:09Z" level=error msg="kubelet exited: x"',
        'time="2026-11-24T10:00:09Z" level=error msg="Shutdown request received: \\"apiserver exited: x\\""',
        "F0522 09:07:03.923644       1 server.go:149] x",
        "panic: runtime error",
        "FATA[0013] x",
        "exec /bin/k3s: exec format error",
    ],
)
def test_last_lines(line: str) -> None:
    assert is_last(line)


@pytest.mark.parametrize(
    "line",
    [
        'time="2026-11-24T10:00:09Z" level=info msg="Shutdown request received"',
        'time="2026-11-24T10:00:09Z" level=error msg="Failed to get CA certs"',
        'time="2026-11-24T10:00:09Z" level=info msg="level=fatality"',
        'E1124 10:00:09.1 12 run.go:72] "x"',
        "",
    ],
)
def test_lines_after_which_it_goes_on(line: str) -> None:
    assert not is_last(line)
