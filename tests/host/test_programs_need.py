"""What is there is used, unless it is too old, does not run, or is ours and not the pinned one."""

from __future__ import annotations

import pytest

from tasks.host.programs import Found, Pin, need

PIN = Pin(version="v4.1.4", minimum="v3.13.0")


@pytest.mark.parametrize(
    ("version", "ours", "fetch", "why"),
    [
        ("v4.1.4", True, False, "v4.1.4 is there: /x/helm"),
        ("v4.1.4", False, False, "is there"),
        ("v3.13.0", False, False, "is there"),
        ("v3.14.2+g1234", False, False, "is there"),
        ("v4.10.0", False, False, "is there"),
        ("v3.12.3", False, True, "/x/helm is v3.12.3, and at least v3.13.0 is needed"),
        ("v2.99.9", False, True, "at least v3.13.0"),
        ("v4.1.3", True, True, "the project's folder has v4.1.3, and v4.1.4 is wanted"),
        ("v4.2.0", True, True, "v4.1.4 is wanted"),
        (None, False, True, "does not tell its version"),
        ("", False, True, "does not tell its version"),
        ("unknown", True, True, "does not tell its version"),
    ],
)
def test_whether_to_fetch(version: str | None, ours: bool, fetch: bool, why: str) -> None:
    told = need(PIN, Found(path="/x/helm", version=version, ours=ours))
    assert told.fetch is fetch
    assert why in told.why


def test_what_is_missing_is_fetched() -> None:
    assert need(PIN, None).fetch
