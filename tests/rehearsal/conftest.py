"""The fixture of all rehearsals inside this process."""

from tests.rehearsal.played import played

__all__ = ["played"]
