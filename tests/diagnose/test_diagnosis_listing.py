"""The page of all causes is what the catalogue says."""

from __future__ import annotations

from pathlib import Path

from tasks.diagnose.diagnosis import catalogue, markdown

_PAGE = Path(__file__).parents[2] / "docs" / "reference" / "causes.md"
_WRITE = (
    "python -c 'from tasks.diagnose.diagnosis import markdown; print(markdown(), end=\"\")' > docs/reference/causes.md"
)


def test_the_page_is_of_this_catalogue() -> None:
    assert _PAGE.read_text() == markdown(), f"write it anew: {_WRITE}"


def test_every_cause_is_on_the_page() -> None:
    text = markdown()
    assert {cause.id for cause in catalogue() if f"| `{cause.id}` |" not in text} == set()
