"""The programs of these tests: see `tests/programs.py`."""

from __future__ import annotations

from tests.programs import Answer, FakePrograms

__all__ = ["Answer", "FakePrograms"]
