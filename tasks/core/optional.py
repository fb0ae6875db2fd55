"""What only saves time or tells of it: it may fail for any reason, and costs a line."""

from __future__ import annotations

from collections.abc import Callable


def attempt(what: str, act: Callable[[], object]) -> tuple[str, ...]:
    """Do it; a note in one line where it failed, nothing where it went well. `what` says what is lost then."""
    try:
        act()
    except Exception as error:  # noqa: BLE001 - whatever it is, the launch is more than this
        return (f"{what}: {first_line(error)}",)
    return ()


def first_line(error: BaseException) -> str:
    """What an error says, without its reasons; its kind where it says nothing."""
    return str(error).split("\n", 1)[0] or type(error).__name__
