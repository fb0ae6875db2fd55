"""Values that must not be seen, in each form in which they could come out."""

from __future__ import annotations

import base64
import json
import threading

import pytest

from tasks.tools import secret
from tasks.tools.secret import MASK, conceal, redact


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


def test_text_without_secrets_stays() -> None:
    conceal("hunter22")
    assert redact("a\nb ä") == "a\nb ä"


def test_many_threads_conceal_at_once() -> None:
    values = [f"value-number-{number:03d}" for number in range(64)]
    threads = [threading.Thread(target=conceal, args=(value,)) for value in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert redact(" ".join(values)) == " ".join([MASK] * 64)
