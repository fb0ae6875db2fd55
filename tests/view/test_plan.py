"""A plan as text, JSON, Mermaid and DOT; a prediction of its time as text and JSON."""

import json
import re

import pytest

from tasks.engine.step import Bounds, Step
from tasks.rehearsal.what_if import Change, Prediction
from tasks.view.console import cells
from tasks.view.plan import FORMATS, as_json, document, dot, mermaid, predicted_json, predicted_text, text
from tests.view.plans import launch, step

STEPS = [
    step("prepull: k3s"),
    step("cluster: create", "prepull: k3s", expected=9.0, why="the image changed"),
    step("secrets: pat", "cluster: create", skip="is there"),
    step("health: api", "secrets: pat"),
]
BOUNDS = Bounds(work=2)


def test_the_text_says_what_why_and_how_long() -> None:
    assert text(STEPS, {"prepull: k3s": 4.2}, BOUNDS, width=100) == [
        "do      time  step             why, and what it needs",
        "----  ------  ---------------  -------------------------------------",
        "run    4.2 s  prepull: k3s",
        "run   ~9.0 s  cluster: create  the image changed; needs prepull: k3s",
        "skip          secrets: pat     is there",
        "run        ?  health: api      needs secrets: pat",
        "",
        "3 steps would run, 1 would be skipped; 2 commands at once.",
        "expected total  14.2 s, of which 1 step (?) counted as 1 s each: not recorded by an earlier run",
        "longest chain   14.2 s",
        "critical path   prepull: k3s 4.2 s → cluster: create 9.0 s → health: api 1.0 s",
    ]


@pytest.mark.parametrize("width", [40, 80, 160])
def test_the_text_fits(width: int) -> None:
    lines = text(launch(), {}, BOUNDS, width=width)
    assert max(cells(shown) for shown in lines) <= width
    assert all(any(s.name.split()[-1][-8:] in shown for shown in lines) for s in launch())


def test_of_many_needs_the_last_to_end_is_named_and_a_piped_row_stays_one_short_line() -> None:
    """Width None is a pipe."""
    needs = [f"helm: application-{n} in integrated-tools-datasources ready" for n in range(9)]
    slow = needs[4]
    steps = [*map(step, needs), step("all", *needs), step("b", *needs[:5], why="w" * 60)]
    for width in (80, 160, None):
        lines = text(steps, {slow: 9.0}, BOUNDS, width=width)
        table = lines[: lines.index("")]
        assert max(map(cells, table)) <= (width or 160)
        assert "and 8 more" in " ".join(" ".join(table).split())
        if width is None:
            assert len(table) == 2 + len(steps)
            assert table[-2].endswith(f"needs {slow} and 8 more")
            assert table[-1].endswith("w; needs 5 steps")


def test_a_piped_critical_path_is_wrapped() -> None:
    names = [f"helm: application-{n} in integrated-tools-datasources ready" for n in range(9)]
    chained = [step(name, *names[:n][-1:]) for n, name in enumerate(names)]
    assert max(map(cells, text(chained, dict.fromkeys(names, 9.0), BOUNDS))) <= 160


def test_plans_with_nothing_to_do() -> None:
    assert text([], {}, BOUNDS) == ["The plan is empty: there is nothing to do."]
    assert text([step("a", skip="is there")], {}, BOUNDS)[-1] == "Nothing to do: 1 step would be skipped."


def test_the_json_is_complete() -> None:
    result = json.loads("\n".join(as_json(STEPS, {"prepull: k3s": 4.2}, BOUNDS)))
    assert result == document(STEPS, {"prepull: k3s": 4.2}, BOUNDS)
    assert (result["expected_s"], result["floor_s"], result["guessed_steps"]) == (14.2, 14.2, 1)
    assert result["critical_path"] == ["prepull: k3s", "cluster: create", "health: api"]
    assert result["steps"][2] == {
        "name": "secrets: pat",
        "task": "t",
        "do": "skip",
        "why": "is there",
        "needs": ["cluster: create"],
        "wait": False,
        "kind": None,
        "last_s": None,
        "start_s": 13.2,
        "end_s": 13.2,
    }


def test_mermaid() -> None:
    assert mermaid(STEPS, {"prepull: k3s": 4.2}, BOUNDS) == [
        "flowchart LR",
        '  s0["prepull: k3s<br/>4.2 s"]',
        '  s1["cluster: create"]',
        '  s2["secrets: pat"]',
        '  s3["health: api"]',
        "  s0 --> s1",
        "  s1 --> s2",
        "  s2 --> s3",
        "  classDef skipped stroke-dasharray:4 4,color:#777",
        "  class s2 skipped",
        "  classDef critical stroke-width:3px",
        "  class s0,s1,s3 critical",
    ]


def test_dot() -> None:
    lines = dot(STEPS, {"prepull: k3s": 4.2}, BOUNDS)
    assert '  s0 [label="prepull: k3s\\n4.2 s", style=bold];' in lines
    assert '  s2 [label="secrets: pat", style=dashed];' in lines
    assert "  s0 -> s1 [style=bold];" in lines
    assert "  s1 -> s2;" in lines
    assert lines[-1] == "}"


@pytest.mark.parametrize(
    "name", ['a"b', "a\\N", "end", "a]-->b", "<b>&amp;", "`x`", "a\nb\x1b[31m", "%%{init}", "#35;"]
)
def test_no_name_is_taken_for_syntax(name: str) -> None:
    steps = [step(name), step("z", name)]
    drawn = mermaid(steps, {}, BOUNDS)
    assert re.fullmatch(r'  s0\["([^"`<>&\[\]{}\\%]|#\d+;)*"\]', drawn[1])
    graph = dot(steps, {}, BOUNDS)
    assert re.fullmatch(r'  s0 \[label="([^"\\\n]|\\\\|\\")*", style=\w+\];', graph[3])
    assert len(drawn) == 6
    assert len(graph) == 7


def test_every_form_takes_any_plan() -> None:
    for render in FORMATS.values():
        assert render(launch(), {}, BOUNDS)
        assert render([], {}, BOUNDS)


PREDICTED = [
    Step(name="prepull: an image", task="prepull"),
    Step(name="cluster: create", task="cluster", wait=True),
    Step(name="registry: push", task="registry", skip="it runs"),
    Step(name="cluster: watch the nodes", task="cluster", until=("cluster: create",)),
]


def an_answer(*changes: Change) -> Prediction:
    return Prediction(
        total_s=12.3,
        floor_s=9.9,
        path=(("looking around", 0.5), ("k3s starts", 2.7), ("hardly anything", 0.01)),
        times={"prepull: an image": (0.5, 2.0), "cluster: create": (2.0, 11.0)},
        changes=changes,
        rests_on="the time profile 'default': 9 launches on 2 cores; computed, not measured: other cores",
    )


def test_it_tells_total_floor_path_what_helps_and_what_it_rests_on() -> None:
    found = an_answer(Change(what="4 cores instead of 2", total_s=8.0), Change(what="no agents", total_s=10.0))
    lines = predicted_text(found, PREDICTED, None)
    assert "expected total  12.3 s" in lines
    assert "floor           9.9 s: with unlimited cores, places and bandwidth" in lines
    assert "critical path   looking around 0.5 s → k3s starts 2.7 s" in lines
    assert "helps most      4 cores instead of 2: 8.0 s" in lines
    assert "                no agents: 10.0 s" in lines
    assert lines[-1].startswith("based on        the time profile 'default'")


def test_each_step_has_its_row_but_guards_have_none() -> None:
    lines = predicted_text(an_answer(), PREDICTED, None)
    assert lines[2].split() == ["run", "0.5", "s", "1.5", "s", "prepull:", "an", "image"]
    assert lines[4].split() == ["skip", "registry:", "push"]
    assert not any("watch" in each for each in lines)


def test_where_nothing_helps_that_is_said() -> None:
    assert "helps most      none of the simulated changes gains more than 2 %" in predicted_text(
        an_answer(), PREDICTED, None
    )


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_it_fits_the_terminal(width: int) -> None:
    changes = [Change(what="caches that have the images", total_s=8.0), Change(what="no agents at all", total_s=9.0)]
    assert max(map(len, predicted_text(an_answer(*changes), PREDICTED, width))) <= width


def test_the_same_as_json() -> None:
    found = json.loads("\n".join(predicted_json(an_answer(Change(what="4 cores", total_s=8.0)), PREDICTED, 80)))
    assert (found["expected_s"], found["floor_s"]) == (12.3, 9.9)
    assert found["changes"] == [{"what": "4 cores", "expected_s": 8.0}]
    assert [each["name"] for each in found["steps"]] == ["prepull: an image", "cluster: create"]
    assert found["critical_path"][1] == {"what": "k3s starts", "seconds": 2.7}
