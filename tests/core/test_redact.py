"""Values that must not be seen, in each form in which they could come out."""

import base64
import json
import threading

import pytest

from tasks.core import redact as secret
from tasks.core.redact import MASK, conceal, conceal_logins, conceal_proxy, redact


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret, "_values", ())


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


PEM = "-----BEGIN KEY-----\nMIIBVgIBADANBgkqhkiG9w0BAQ\nEFAASCAUAwggE8AgEAAkEAq7BF\n-----END KEY-----\n"


@pytest.mark.parametrize(
    ("value", "text", "shown"),
    [
        ("hunter22", "password hunter22, again hunter22.", "password ***, again ***."),
        ("hunter22", f"data: {b64('hunter22')}", "data: ***"),
        ("hunter22\n", "hunter22", "***"),
        ("hunter22\n", b64("hunter22"), "***"),
        ("hunter22\n", b64("hunter22\n"), "***"),
        ('a"b\\c d', f'{{"k": {json.dumps(chr(97) + chr(34) + "b" + chr(92) + "c d")}}}', '{"k": "***"}'),
        ("a<b>&c", '{"k": "a\\u003cb\\u003e\\u0026c"}', '{"k": "***"}'),
        ("pässwörd", json.dumps("pässwörd"), '"***"'),
        ("pa/ss wö", "https://u:pa%2Fss%20w%C3%B6@host", "https://u:***@host"),
        ("pa/ss wö", "https://u:pa/ss%20w%C3%B6@host", "https://u:***@host"),
        (PEM, "it read MIIBVgIBADANBgkqhkiG9w0BAQ here", "it read *** here"),
        (PEM, json.dumps(PEM), '"***"'),
        ("abc", "abc", "abc"),
        ("", "nothing", "nothing"),
        ("a" * 17 + "\nshort", "short words stay", "short words stay"),
        ("\udcff-raw-value", "\udcff-raw-value", "***"),
    ],
)
def test_a_value_is_masked_in_every_form(value: str, text: str, shown: str) -> None:
    conceal(value)
    assert redact(text) == shown


def test_the_longest_value_is_masked_first() -> None:
    conceal("secret")
    conceal("secret-and-more")
    conceal("more-still")
    assert redact("secret-and-more secret more-still") == f"{MASK} {MASK} {MASK}"


def test_many_threads_conceal_at_once() -> None:
    values = [f"value-number-{number:03d}" for number in range(64)]
    threads = [threading.Thread(target=conceal, args=(value,)) for value in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert redact(" ".join(values)) == " ".join([MASK] * 64)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "Get https://me:hunter2@charts.example.com/index.yaml: EOF",
            "Get https://***@charts.example.com/index.yaml: EOF",
        ),
        ("https://ghp_token@host/x and oci://a:b@r/c", "https://***@host/x and oci://***@r/c"),
        ("socks5://u:p@ss@h:1080", "socks5://***@h:1080"),
        ("http://u:pa/ss@h:3128/x", "http://***@h:3128/x"),
        ("http://u:pa#s?s@h", "http://***@h"),
        ('{"a":"https://h:80/x","b":"me@example.com"}', '{"a":"https://h:80/x","b":"me@example.com"}'),
        (
            "oci://ghcr.io:443/a/b@sha256:12 https://cdn.example/lib@1",
            "oci://ghcr.io:443/a/b@sha256:12 https://cdn.example/lib@1",
        ),
        ("http://[::1]:3128/a@b", "http://[::1]:3128/a@b"),
        ("ssh://git@host/x, git+ssh://me:pw@host", "ssh://git@host/x, git+ssh://***@host"),
        ("https://mirror/https://me:pw@host", "https://mirror/https://***@host"),
        ("https://me:p,w@host/x, http://me:p;w'^{}|@host", "https://***@host/x, http://***@host"),
        (
            "http://a:80,me@x http://a:80;me@x 'http://a:80','me@x'",
            "http://a:80,me@x http://a:80;me@x 'http://a:80','me@x'",
        ),
        ("https://host/x?private_token=pw&page=2#a", "https://host/x?private_token=***&page=2#a"),
        (
            "https://host/x?sv=1&sig=a%2Fb, jdbc:pg://h/x?user=me&password=pw",
            "https://host/x?sv=1&sig=***, jdbc:pg://h/x?user=me&password=***",
        ),
        ("https://host/x?design=a&tokens=2", "https://host/x?design=a&tokens=2"),
        ("https://user:***@host https://***@host", "https://user:***@host https://***@host"),
    ],
)
def test_logins_of_addresses_are_masked_though_nobody_knew_them(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


def test_addresses_within_addresses_have_no_depth() -> None:
    assert redact("://a" * 2000 + "://me:pw@host") == "://a" * 2000 + "://***@host"


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        ("https://me:c4n%40ry-1@host/x", ["c4n%40ry-1", "c4n@ry-1", b64("me:c4n@ry-1"), "c4n%40ry-1".lower()]),
        ("https://me:c4n@ry-2@host", ["c4n@ry-2", "c4n%40ry-2", b64("me:c4n@ry-2")]),
        ("https://me:c4n/ry-3@host", ["c4n/ry-3", "c4n%2Fry-3"]),
        ("https://c4nary-token-4@host", ["c4nary-token-4"]),
        ("https://me:c4nary,7;x'y@host", ["c4nary,7;x'y", b64("me:c4nary,7;x'y")]),
        ("https://host/x?private_token=c4nary%2F8", ["c4nary%2F8", "c4nary/8"]),
        ("https://c4nary-token-5:x-oauth-basic@host", ["c4nary-token-5"]),
        (
            "https://ghp_0123456789abcdefghijABCDEFGHIJ:c4nary-6@host",
            ["ghp_0123456789abcdefghijABCDEFGHIJ", "c4nary-6"],
        ),
    ],
)
def test_a_login_is_masked_wherever_a_program_repeats_it(address: str, seen: list[str]) -> None:
    conceal_logins(f"repositories: [{address}]")
    for text in seen:
        assert redact(f"said <{text}>") == "said <***>"


def test_names_of_accounts_stay_words() -> None:
    conceal_logins(
        "https://admin:c4nary-pass@host ssh://deployment@host https://admin@host http://${USER}:${PASS_WORD}@h"
    )
    assert (
        redact("cluster-admin deployment ${PASS_WORD} x-oauth-basic")
        == "cluster-admin deployment ${PASS_WORD} x-oauth-basic"
    )


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("me:c4nary-pass@proxy:3128", "c4nary-pass"),
        ("http://me:c4n@ry/w$rd@proxy:3128", "c4n@ry/w$rd"),
        ("socks5://me:c4n%40ry-5@proxy", "c4n@ry-5"),
    ],
)
def test_the_login_of_a_proxy_is_all_before_its_last_at(text: str, seen: str) -> None:
    conceal_proxy(text)
    assert redact(f"<{seen}>") == "<***>"


def test_a_text_without_a_scheme_is_no_address_else() -> None:
    conceal_logins("mailto-like:other-pass@proxy:3128")
    assert redact("other-pass") == "other-pass"
