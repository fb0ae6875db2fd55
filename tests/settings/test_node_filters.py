"""Which nodes a value is for, and what belongs to the value itself."""

import pytest

from tasks.settings.node_filters import fault, nodes, split

LOGIN = "P=http://me:s3cret@proxy.example:3128"


@pytest.mark.parametrize(
    ("text", "value", "filters"),
    [
        ("A=b", "A=b", ()),
        ("A=b@server:*", "A=b", ("server:*",)),
        ("A=b@server:0;agent:*", "A=b", ("server:0", "agent:*")),
        ("A=b@servers:0,2", "A=b", ("servers:0,2",)),
        ("A=b@agents:1-", "A=b", ("agents:1-",)),
        ("A=b@all", "A=b", ("all",)),
        ("A=b@all:*", "A=b", ("all:*",)),
        ("80:80@loadbalancer", "80:80", ("loadbalancer",)),
        ("80:80@server:0:direct", "80:80", ("server:0:direct",)),
        (LOGIN, LOGIN, ()),
        (f"{LOGIN}@server:*", LOGIN, ("server:*",)),
        ("P=http://me:a@b@proxy:3128@all", "P=http://me:a@b@proxy:3128", ("all",)),
        ("P=http://me:pw@server:3128", "P=http://me:pw@server:3128", ()),
        ("P=http://me:pw@server:3128/", "P=http://me:pw@server:3128/", ()),
        (r"U=me\@here.org@server:*", "U=me@here.org", ("server:*",)),
        (r"U=me\@server:0", "U=me@server:0", ()),
        ("U=C:\\\\@server:*", "U=C:\\", ("server:*",)),
        ("A=b@", "A=b@", ()),
        ("@server:*", "", ("server:*",)),
    ],
)
def test_filters_are_what_follows_the_last_at_sign(text: str, value: str, filters: tuple[str, ...]) -> None:
    assert split(text) == (value, filters)
    assert fault(text, ("direct", "proxy")) == ""


@pytest.mark.parametrize(
    "end",
    [
        "server",
        "sever:*",
        "agnet:0",
        "agent:x",
        "Server:*",
        "server:0;agnet:1",
        "server:",
        "workers",
        "server:0:direct",
    ],
)
def test_what_was_meant_as_a_filter_and_is_none_is_found_and_nothing_else_of_the_value_told(end: str) -> None:
    found = fault(f"{LOGIN}@{end}")
    assert bool(found) is (end != "workers")
    assert not found or (end in found and "s3cret" not in found)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (("server:*",), {("server", 0)}),
        (("agent:*",), {("agent", 0), ("agent", 1), ("agent", 2)}),
        (("agents:0,2",), {("agent", 0), ("agent", 2)}),
        (("agent:1-",), {("agent", 1), ("agent", 2)}),
        (("agent:-1", "server:0"), {("agent", 0), ("agent", 1), ("server", 0)}),
        (("loadbalancer",), {("loadbalancer", 0)}),
        (("all:*",), {("server", 0), ("agent", 0), ("agent", 1), ("agent", 2), ("loadbalancer", 0)}),
    ],
)
def test_the_nodes_that_filters_mean(filters: tuple[str, ...], expected: set[tuple[str, int]]) -> None:
    assert nodes(filters, {"server": 1, "agent": 3, "loadbalancer": 1}) == expected


@pytest.mark.parametrize("text", ["agent:3", "server:0-1", "agent:2-1", "loadbalancer", "nodes:0"])
def test_a_node_that_is_not_there_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=text.split("-", maxsplit=1)[0]):
        nodes((text,), {"server": 1, "agent": 3})


def test_all_agents_of_a_cluster_without_any_are_none() -> None:
    assert nodes(("agent:*",), {"server": 1, "agent": 0}) == set()
