"""What names, addresses and references may be."""

from collections.abc import Callable

import pytest

from tasks.core.units import memory_bytes
from tasks.settings import valid
from tasks.settings.valid import amount, as_amount, as_bool, as_memory, as_number, as_whole, as_words, dns_label

GOOD: list[tuple[Callable[[str], str], list[str]]] = [
    (dns_label, ["a", "a-b", "0", "a" * 63]),
    (valid.one_line, ["a", " a b ", "ä", "日本"]),
    (valid.argument, ["", "a\nb", "\x1b"]),
    (valid.host, ["localhost", "a.b-c.de", "127.0.0.1.nip.io"]),
    (valid.release_name, ["a", "a.b-c", "a" * 53]),
    (valid.own_namespace, ["default", "a"]),
    (valid.ipv4, ["127.0.0.1", "0.0.0.0", "192.168.1.2"]),
    (valid.subnet, ["auto", "172.28.0.0/16", "fd00::/64"]),
    (valid.image, ["nginx", "docker.io/rancher/k3s:v1.32.3-k3s1", "r.example:5000/a@sha256:0123abcd"]),
    (
        valid.image_repository,
        ["api", "shop/api", "ghcr.io/me/a_b", "localhost:5000/a", "r.example:5000/a/b-c", "a__b"],
    ),
    (valid.platform, ["linux/amd64", "linux/arm/v7"]),
    (valid.secret_id, ["npm", "npm.token-1"]),
    (valid.kubernetes_version, ["v1.32.3", "1.32.3", "v1.32.3+k3s1", "v1.32.3-k3s2", "v1.33.0-rc1-k3s1"]),
    (valid.registry_host, ["docker.io", "r.example:5000", "localhost:5000"]),
    (valid.http_url, ["http://a", "https://a.b:8080/c?d", "https://u:p@a/b", "http://[::1]:80"]),
    (valid.public_url, ["https://a/b@c"]),
    (valid.variable, ["A", "_a1", "GITHUB_TOKEN_CLASSIC"]),
    (valid.label_key, ["role", "example.com/role", "A_b.c"]),
    (valid.label_value, ["", "a", "A_b.c-1", "a" * 63]),
    (valid.repository, ["jetstack", "my_repo.1"]),
    (
        valid.port_mapping,
        ["80", "8080:80", "8080:80/udp", "127.0.0.1:8080:80@loadbalancer", "[::1]:1:2", "1-3:1-3"],
    ),
]
BAD: list[tuple[Callable[[str], str], list[str]]] = [
    (dns_label, ["", "A", "-a", "a-", "a_b", "a" * 64, "a\n", "a.b", "ä", "\u0661"]),
    (valid.one_line, ["", " ", "a\nb", "a\x00", "\x1b[0m", "\udcff", "\u200e"]),
    (valid.argument, ["a\x00b"]),
    (valid.host, ["", "A", "a..b", ".a", "a.", "a_b", "a" * 254, "http://a", "a\n", "*.a"]),
    (valid.release_name, ["", "A", "a" * 54, "a_b", "a-", "a\n"]),
    (valid.own_namespace, ["kube-system", "kube-public", "kube-node-lease"]),
    (
        valid.ipv4,
        ["", "localhost", "::1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "224.0.0.1", "255.255.255.255"],
    ),
    (valid.subnet, ["", "172.28.0.1/16", "x", "1.2.3.4/33"]),
    (valid.image, ["", "-v", "a b", "a\nb", "a;b", "$x", "a" * 501]),
    (
        valid.image_repository,
        ["", "api:1", "Shop/api", "shop/", "/a", "-a", "a b", "a@sha256:0", "https://a/b"],
    ),
    (valid.platform, ["", "linux", "linux/amd64,linux/arm64", "--push"]),
    (valid.secret_id, ["", "a,src=/b", "a b", "-a"]),
    (valid.kubernetes_version, ["", "1.32", "v2.0.0", "latest", "v1.32.3-", "v1.32.3\n", "v1.99999.0"]),
    (valid.registry_host, ["", "https://a", "a/b", "a:0", "a:70000", "a:b", "A.io"]),
    (valid.http_url, ["", "ftp://a", "http://", "a", "http://a b", "http://a\n", "http://\x1b"]),
    (valid.public_url, ["https://u:p@a", "https://u@a/b", "x"]),
    (valid.variable, ["", "1a", "a-b", "a=b", "ghp_16C7e42F292c6912E7710c838347Ae178B4a", "github_pat_1A"]),
    (valid.label_key, ["", "a b", "/a", "a/", "A/b c", "a" * 64, "Example.com/a", "a/b/c"]),
    (valid.label_value, ["a b", "-a", "a" * 64, "a\n"]),
    (valid.repository, ["", "a/b", "-a", "a b"]),
    (valid.port_mapping, ["", "x", "a:80", "1:2:3", "70000:80", "80/http", "80@", "80 ", "1.2.3.4:80"]),
]


@pytest.mark.parametrize(("check", "text"), [(check, text) for check, texts in GOOD for text in texts])
def test_what_may_be(check: Callable[[str], str], text: str) -> None:
    assert check(text) == text


@pytest.mark.parametrize(("check", "text"), [(check, text) for check, texts in BAD for text in texts])
def test_what_may_not_be(check: Callable[[str], str], text: str) -> None:
    with pytest.raises(ValueError, match=r"^must "):
        check(text)


@pytest.mark.parametrize("text", ["daemon.json", "./daemon.json", "/etc/docker/", "/", "--help"])
def test_a_file_that_root_may_change_is_named_whole(text: str) -> None:
    with pytest.raises(ValueError, match="whole path"):
        valid.file(text)


def test_a_folder_may_be_in_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert [valid.folder(text) for text in ("~", "~/a", "~b", "/a/~", "a")] == [
        "/home/me",
        "/home/me/a",
        "~b",
        "/a/~",
        "a",
    ]
    with pytest.raises(ValueError, match="no home folder of that user"):
        valid.folder("~nobody-at-all/a")


@pytest.mark.parametrize(
    ("mapping", "ports"),
    [
        ("80", []),
        ("8080:80", [8080]),
        ("1.2.3.4:8080-8082:80-82@server:0:direct", [8080, 8081, 8082]),
        ("0:80", []),
        ("[::1]:90:80", [90]),
    ],
)
def test_host_ports_of_a_mapping(mapping: str, ports: list[int]) -> None:
    assert list(valid.host_ports(mapping)) == ports


def test_booleans_in_their_usual_spellings() -> None:
    yes = ["true", "True", "TRUE", "yes", "Yes", "on", "1", "y", "t", " true ", True, 1]
    no = ["false", "False", "no", "NO", "off", "Off", "0", "n", "f", False, 0]
    assert [as_bool(value) for value in (*yes, *no)] == [True] * len(yes) + [False] * len(no)


@pytest.mark.parametrize(
    "value", ["", "maybe", "2", "tru", None, 2, 1.5, [], {}, pytest.param(10**5000, id="huge"), float("nan"), "\udcff"]
)
def test_what_is_neither_true_nor_false(value: object) -> None:
    with pytest.raises(ValueError, match="must be true or false"):
        as_bool(value)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2G", 2 * 1024**3),
        ("1.5G", 3 * 1024**3 // 2),
        ("2g", 2 * 1024**3),
        ("2GB", 2 * 1024**3),
        ("2GiB", 2 * 1024**3),
        ("2Gi", 2 * 1024**3),
        ("512m", 512 * 1024**2),
        ("6291456", 6 * 1024**2),
        ("6144k", 6 * 1024**2),
        (" 1 T ", 1024**4),
    ],
)
def test_sizes_are_dockers(text: str, size: int) -> None:
    assert memory_bytes(text) == size
    assert as_memory(text) == text.strip()


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        "2X",
        "-2G",
        "1e3G",
        "5M",
        "65T",
        "9" * 400,
        "nan",
        "inf",
        True,
        None,
        [],
        10**400,
        float("inf"),
        "\u0662G",
    ],
)
def test_what_is_no_size(value: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        as_memory(value)


def test_sizes_as_numbers_are_bytes() -> None:
    assert as_memory(2147483648) == "2147483648"
    assert as_memory(2147483648.0) == "2147483648"


@pytest.mark.parametrize("text", ["", "x", "1.5", "1e3", "0x1", "1_0", "٣", "9" * 30, "nan", "1 0"])
def test_what_is_no_whole_number(text: str) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        as_whole(text)


@pytest.mark.parametrize("text", ["", "x", "1e3", "nan", "inf", "1,5", "1_0", "9" * 30, "."])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        as_number(text)


def test_numbers() -> None:
    assert [as_whole(text) for text in ("3", " 3 ", "+3", "-3", "3.0", 3)] == [3, 3, 3, -3, 3, 3]
    assert [as_number(text) for text in ("1.5", " .5 ", "2.", 2)] == [1.5, 0.5, 2.0, 2]
    for check in (as_whole, as_number):
        with pytest.raises(ValueError, match=r"^$"):
            check(True)


def test_amounts_and_words() -> None:
    assert [as_amount(value) for value in ("16Gi", 8, 0.5, True, None)] == ["16Gi", "8", "0.5", True, None]
    assert [amount(text) for text in ("16Gi", "500m", "8")] == ["16Gi", "500m", "8"]
    for text in ("much", "-1", "", "1e99", "1\n"):
        with pytest.raises(ValueError, match="must be an amount"):
            amount(text)
    assert as_words(" a  b,c\n") == ("a", "b", "c")
    assert as_words(["a b"]) == ["a b"]
    assert as_words("") == ()
