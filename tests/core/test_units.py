"""Quantities as Kubernetes writes them, and bytes for people."""

from decimal import Decimal

import pytest

from tasks.core.units import GIB, MIB, gib, megabytes, mib, quantity


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("16Gi", "16384Mi"),
        ("0.5", "500m"),
        ("1", "1000m"),
        (1, "1"),
        (0.5, "500m"),
        ("1e3", "1k"),
        ("1E", "1000P"),
        ("1E3", "1000"),
        ("+5", "5"),
        (".5", "0.50"),
        ("1Ki", "1024"),
        ("100n", "0.1u"),
        ("5.", "5"),
    ],
)
def test_equal_quantities(one: object, other: object) -> None:
    assert quantity(one) is not None
    assert quantity(one) == quantity(other)


def test_sizes() -> None:
    assert quantity("1.5Gi") == Decimal(1610612736)
    assert quantity("-1G") == Decimal(-(10**9))


@pytest.mark.parametrize("value", ["", "Gi", "1 Gi", "1gi", "1KB", "1K", "a1", "1ee3", "1\n", "٣", True, None, []])
def test_what_is_none(value: object) -> None:
    assert quantity(value) is None


def test_bytes_for_people() -> None:
    assert mib(1.5 * MIB) == "1.5 MiB"
    assert mib(1.5 * MIB, 12 * MIB) == "1.5 of 12.0 MiB"
    assert gib(2.25 * GIB) == "2.2 GiB"
    assert megabytes(12_400_000) == "12 MB"
    assert megabytes(12_400_000, 80_000_000) == "12 of 80 MB"
