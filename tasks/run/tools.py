"""`make tools` runs `python -m tasks.run.tools`. Not an invoke task: the others download programs, too."""

import argparse
import sys
from collections.abc import Sequence

from tasks.engine.step import Bounds
from tasks.host.programs import AT_ONCE, fetch_plan
from tasks.run.session import Session
from tasks.run.task import Options, run_task


def tools(session: Session) -> int:
    """Download what is missing, and nothing else: `make tools`."""
    session.open_logs()
    session.run(fetch_plan(session), Bounds(work=AT_ONCE), acts=False)
    return 0


def main(arguments: Sequence[str]) -> int:
    """The exit code. Takes `--profile` and `--set` like invoke's tasks."""
    parser = argparse.ArgumentParser(
        prog="make tools", description="download k3d, kubectl and helm if they are missing"
    )
    parser.add_argument("--profile", help="profile under config/")
    parser.add_argument("--set", dest="sets", action="append", default=[], help="any setting: --set tools.helm_url=…")
    given = parser.parse_args(arguments)
    return run_task(Options(task="tools", profile=given.profile, sets=tuple(given.sets)), tools)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
