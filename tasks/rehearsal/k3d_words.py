"""How k3d logs (logrus, with seconds since its start), and how it ends."""

from __future__ import annotations

from tasks.rehearsal.call import Exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tasks.rehearsal.call import Call


def info(call: Call, text: str) -> None:
    """A line of progress, on stderr."""
    call.warn(f"INFO[{int(call.now() - call.began):04d}] {text}")


def fatal(text: str, seconds: float = 0.0) -> Exit:
    """The end, with the last line."""
    return Exit(1, f"FATA[{int(seconds):04d}] {text}")
