"""Results, written and read again."""

from pathlib import Path

import pytest

from tasks.benchmark.results import described, document, read, with_rest, write
from tasks.benchmark.variants import Setting, Variant
from tasks.core.errors import BadInput
from tests.benchmark.measured import launches, results


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    result = results(launches("sequential", 1), launches("graph", 2))
    write(result, tmp_path / "bench.json")
    again = read(tmp_path / "bench.json")
    write(again, tmp_path / "again.json")
    assert document(read(tmp_path / "again.json")) == document(again)
    assert again.walls("graph") == pytest.approx(result.walls("graph"), abs=0.001)
    assert [run.steps.keys() for run in again.runs] == [run.steps.keys() for run in result.runs]
    assert again.names == ("sequential", "graph")


def test_what_machines_do_at_rest_is_taken_off() -> None:
    runs = with_rest(launches("graph", 1, runs=3))
    assert [run.cpu_s for run in runs] == pytest.approx([run.wall_s * 1.4 for run in runs])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "bench", "schema": 9}'])
def test_what_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(BadInput, match="cannot be read"):
        read(path)
    with pytest.raises(BadInput, match="No such file"):
        read(tmp_path / "none.json")


def test_values_that_may_be_private_are_left_out() -> None:
    sets = ("pool.concurrency=4", "helm.releases.app.values.password=hunter2")
    reported = described(Variant(name="graph", mode="graph", setting=Setting(sets=sets)), "0" * 16)
    assert reported["sets"] == ["pool.concurrency=4", "helm.releases.app.values.password=***"]
