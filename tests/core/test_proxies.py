"""Proxy variables as people write them: what is read, what is named, and what programs are given."""

import pytest

from tasks.core.proxies import differing, for_programs, no_proxy, proxy, read


@pytest.mark.parametrize(
    ("text", "canonical", "unread"),
    [
        ("", "", ()),
        ("localhost,127.0.0.1", "localhost,127.0.0.1", ()),
        ("10.0.0.0/8 192.168.0.0/16", "10.0.0.0/8,192.168.0.0/16", ()),
        ("a.example ;b.example;\n 10.1.2.3\t,", "a.example,b.example,10.1.2.3", ()),
        ('"localhost, .corp.example"', "localhost,corp.example", ()),
        ("*.corp.example,.x,UPPER.example,host.example.", "corp.example,x,upper.example,host.example", ()),
        ("10.0.0.0/8:443,10.1.2.3/8,10.0.0.0/255.0.0.0", "10.0.0.0/8", ()),
        ("::1 [::1] [::1]:8080 fd00::/8 [fd00::]/8", "::1,[::1]:8080,fd00::/8", ()),
        ("::ffff:10.0.0.1,fe80::1%eth0", "10.0.0.1,fe80::1", ()),
        ("registry:5000,10.1.2.3:8080", "registry:5000,10.1.2.3:8080", ()),
        ("*", "*", ()),
        ("example.org,*", "*", ()),
        ("my_host,192-168-0-1.example,bücher.example", "my_host,192-168-0-1.example,bücher.example", ()),
        ("10.0.0.0/,10.0.0.0/33,10.0.0/8", "", ("10.0.0.0/", "10.0.0.0/33", "10.0.0/8")),
        ("10.0.0.0/8:port,10.0.0.0/8/8,/8,/", "", ("10.0.0.0/8:port", "10.0.0.0/8/8", "/8", "/")),
        ("10.0.0.1-10.0.0.9,300.1.1.1", "", ("10.0.0.1-10.0.0.9", "300.1.1.1")),
        ("192.168.*,10.,*example.org,a..b", "", ("192.168.*", "10.", "*example.org", "a..b")),
        ("http://a.example,a:b:c,a:99999,:80,[::1", "", ("http://a.example", "a:b:c", "a:99999", ":80", "[::1")),
        ("good.example,example.org/,-,.", "good.example", ("example.org/", "-", ".")),
    ],
)
def test_no_proxy_is_read_however_it_is_parted(text: str, canonical: str, unread: tuple[str, ...]) -> None:
    found = no_proxy(text)
    assert (found.text, found.unread) == (canonical, unread)
    again = no_proxy(found.text)
    assert (again.text, again.unread, again.plain) == (canonical, (), True)


@pytest.mark.parametrize(
    ("text", "host", "port", "covered"),
    [
        ("10.0.0.0/8", "10.200.3.4", None, True),
        ("10.0.0.0/8", "11.0.0.1", None, False),
        ("10.0.0.0/8", "host-10.0.0.1", None, False),
        ("10.0.0.0/8", "::ffff:10.0.0.1", 443, True),
        ("10.0.0.0/8:443", "10.0.0.1", 443, True),
        ("10.0.0.0/8:443", "10.0.0.1", 80, False),
        ("fd00::/8", "fd12::3", 443, True),
        ("fd00::/8", "10.0.0.1", 443, False),
        ("[::1]:8080", "[::1]", 8080, True),
        ("[::1]:8080", "::1", 80, False),
        ("0:0:0:0:0:0:0:1", "::1", None, True),
        ("registry:5000", "registry", 5000, True),
        ("registry:5000", "registry", None, False),
        (".corp.example", "registry.corp.example", None, True),
        ("*.corp.example", "registry.corp.example", None, True),
        ("corp.example", "registry.CORP.example.", 443, True),
        ("corp.example", "notcorp.example", None, False),
        ("*", "anything.example", 1, True),
        ("", "localhost", None, False),
        ("10.0.0.0/ ok.example", "ok.example", None, True),
    ],
)
def test_who_is_reached_without_a_proxy(text: str, host: str, port: int | None, covered: bool) -> None:
    assert no_proxy(text).covers(host, port) is covered


@pytest.mark.parametrize(
    ("text", "url", "shown"),
    [
        ("proxy:3128", "http://proxy:3128", "http://proxy:3128"),
        ("proxy", "http://proxy:80", "http://proxy:80"),
        (" http://Proxy.Example:3128/ \n", "http://proxy.example:3128", "http://proxy.example:3128"),
        ("HTTPS://proxy", "https://proxy:443", "https://proxy:443"),
        ("'http://proxy:1'", "http://proxy:1", "http://proxy:1"),
        ("me:p%40ss@proxy:3128", "http://me:p%40ss@proxy:3128", "http://***@proxy:3128"),
        ("http://me:p@ss/w$rd@proxy:3128", "http://me:p%40ss%2Fw%24rd@proxy:3128", "http://***@proxy:3128"),
        ("socks5://me:pw@[fd00::1]", "socks5://me:pw@[fd00::1]:1080", "socks5://***@[fd00::1]:1080"),
        ("socks5h://proxy:9", "socks5h://proxy:9", "socks5h://proxy:9"),
    ],
)
def test_the_address_of_a_proxy(text: str, url: str, shown: str) -> None:
    found = proxy(text)
    assert (found.url, found.shown) == (url, shown)
    assert "ss" not in f"{found!r}".replace("socks", "")


@pytest.mark.parametrize(
    "text",
    ["http://", "http://me:hidden@", "http://me:hidden@:80", "proxy:port", "ftp://me:hidden@p", "p:70000", "a b"],
)
def test_what_is_no_address_of_a_proxy_is_named_without_its_login(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        proxy(text)
    assert "hidden" not in str(caught.value)
    found = read({"HTTPS_PROXY": text})
    assert (found.https, found.named, set(found.faults)) == (None, ("HTTPS_PROXY",), {"HTTPS_PROXY"})


def test_lower_case_goes_first_and_all_proxy_last() -> None:
    found = read({"https_proxy": "lower:1", "HTTPS_PROXY": "upper:2", "ALL_PROXY": "every:3", "NO_PROXY": "direct"})
    assert found.https is not None
    assert found.http is not None
    assert (found.https.place, found.http.place) == ("lower:1", "every:3")
    assert found.of("https", "direct") is None
    assert found.of("https", "other") is found.https
    assert read({"https_proxy": "", "HTTPS_PROXY": "upper:2"}).https is None
    assert read({"REQUEST_METHOD": "GET", "HTTP_PROXY": "upper:2"}).http is None


@pytest.mark.parametrize(
    ("environ", "changed"),
    [
        ({}, {}),
        ({"NO_PROXY": "a.example,10.0.0.0/8"}, {}),
        ({"no_proxy": "a.example 10.0.0.0/8; .b"}, {"no_proxy": "a.example,10.0.0.0/8,b"}),
        ({"NO_PROXY": "a, 10.0.0.0/"}, {"NO_PROXY": "a,10.0.0.0/"}),
        ({"no_proxy": "a", "NO_PROXY": "b c"}, {"NO_PROXY": "a"}),
        ({"HTTPS_PROXY": "p:1", "https_proxy": "p:2"}, {"HTTPS_PROXY": "p:2"}),
        ({"HTTPS_PROXY": "http://p:1\n"}, {"HTTPS_PROXY": "http://p:1"}),
    ],
)
def test_programs_read_what_is_read_here(environ: dict[str, str], changed: dict[str, str]) -> None:
    assert for_programs(environ) == changed
    assert for_programs({**environ, **changed}) == {}


def test_two_spellings_that_differ_are_named() -> None:
    environ = {"HTTP_PROXY": "p:1", "http_proxy": "p:2", "HTTPS_PROXY": "p:1", "https_proxy": " p:1"}
    assert list(differing(environ)) == ["HTTP_PROXY"]
