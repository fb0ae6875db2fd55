"""What bench shows."""

import pytest

from tasks.benchmark.report import beginning, ended, markdown, span, text
from tasks.benchmark.results import Trial
from tasks.benchmark.variants import Variant
from tests.benchmark.measured import launches, results

TRIAL = Trial(variant=Variant(name="graph", mode="graph"), round=1, number=5, total=12)


@pytest.mark.parametrize(("seconds", "output"), [(12.4, "12 s"), (89, "89 s"), (91, "2 min"), (3600, "60 min")])
def test_seconds_as_people_say_them(seconds: float, output: str) -> None:
    assert span(seconds) == output


def test_a_line_for_each_launch() -> None:
    assert beginning(TRIAL, None) == "5 of 12: graph, round 2"
    assert beginning(TRIAL, 75.0) == "5 of 12: graph, round 2, about 75 s left"
    run = launches("graph", 1)[0]
    assert ended(TRIAL, run) == f"  {run.wall_s:.1f} s, {run.cpu_s:.1f} CPU seconds"


def test_tables_hold_medians_and_verdicts() -> None:
    result = results(launches("sequential", 1, slow={"cluster: create": 3.0}), launches("graph", 2))
    lines = text(result)
    assert [line.split()[0] for line in lines[2:4]] == ["sequential", "graph"]
    assert "graph / sequential" in lines[-1]
    assert "faster" in lines[-1]
    assert max(len(line) for line in text(result, width=80)) <= 80
    reported = markdown(result)
    assert "| graph / sequential |" in reported
    assert "cpus 2, k3d v5.9.0" in reported
