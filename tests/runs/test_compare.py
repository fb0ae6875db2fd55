"""Two runs against each other."""

from typing import Any

import pytest

from tasks.runs.compare import Change, compare, headline, verdict
from tests.runs.records import record, run, skipped, step


def timed(*seconds: tuple[str, float], **more: Any) -> Any:
    """A run whose steps took that long, one after the other."""
    return run([step(name, at=(0.0, 0.0, took)) for name, took in seconds], **{"name": "x", **more})


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (1.0, 1.25, Change.SLOWER),
        (1.0, 0.75, Change.FASTER),
        (1.0, 1.19, Change.SAME),
        (10.0, 10.9, Change.SAME),
        (10.0, 11.1, Change.SLOWER),
        (0.0, 0.1, Change.SAME),
    ],
)
def test_a_step_changed_only_by_more_than_steps_vary(before: float, after: float, change: Change) -> None:
    both = compare(timed(("a", before)), timed(("a", after)))
    assert [pair.change for pair in both.pairs] == [change]


def test_steps_are_aligned_by_name() -> None:
    before = run([step("gone"), step("both"), step("now skipped"), skipped("was skipped"), skipped("never")])
    after = run([step("both"), step("new"), skipped("now skipped"), step("was skipped"), skipped("never")])
    both = compare(before, after)
    assert {pair.name: pair.change for pair in both.pairs} == {
        "both": Change.SAME,
        "new": Change.NEW,
        "was skipped": Change.NEW,
        "gone": Change.GONE,
        "now skipped": Change.GONE,
    }


def test_guards_are_not_compared() -> None:
    assert "cluster: watch the nodes" not in [pair.name for pair in compare(run(), run()).pairs]


def test_the_largest_difference_comes_first() -> None:
    both = compare(timed(("a", 1), ("b", 1), ("c", 5)), timed(("a", 2), ("b", 9), ("c", 1)))
    assert [pair.name for pair in both.of(Change.SLOWER)] == ["b", "a"]
    assert [pair.name for pair in both.of(Change.FASTER)] == ["c"]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (17.3, 11.8, "5.5 s faster: 11.8 s against 17.3 s (−32 %)."),
        (10.0, 12.0, "2.0 s slower: 12.0 s against 10.0 s (+20 %)."),
        (10.0, 10.04, "The same total: 10.0 s."),
        (0.0, 1.0, "1.0 s slower: 1.0 s against 0.0 s."),
    ],
)
def test_the_headline(before: float, after: float, words: str) -> None:
    assert headline(compare(run(wall_s=before), run(wall_s=after))) == words


def others(*walls: float, **more: Any) -> list[Any]:
    return [run(name=f"other-{number}", wall_s=wall, **more) for number, wall in enumerate(walls)]


@pytest.mark.parametrize(
    ("further", "output"),
    [
        ([], "One run each: such a difference may be chance"),
        (others(9, 10, 11), "may be chance"),
        (
            others(9, 10, 11, 12),
            "4 other runs of the earlier one's steps and settings took 9.0 s to 12.0 s: this one is within",
        ),
        (others(11, 11, 12, 12), "took 11.0 s to 12.0 s: this one is below all of them"),
        (others(7, 8, 8, 9), "this one is above all of them"),
        (others(1, 2, 3, 4, settings_hash="other"), "may be chance"),
        (others(1, 2, 3, 4, outcome="failed"), "may be chance"),
        (others(1, 2, 3, 4, engine="rehearsal"), "may be chance"),
        ([run([step("other")], name=str(n)) for n in range(4)], "may be chance"),
        ([run(name=name, wall_s=1) for name in ("before", "after") * 4], "may be chance"),
    ],
)  # fmt: skip
def test_the_verdict_claims_no_more_than_other_runs_show(further: list[Any], output: str) -> None:
    both = compare(run(name="before", wall_s=12.0), run(name="after", wall_s=10.4), further)
    assert output in verdict(both)


def test_the_verdict_on_what_cannot_be_compared() -> None:
    assert "Not both runs succeeded" in verdict(compare(run(outcome="failed"), run()))
    both = compare(run([step("a"), step("b")]), run([step("a"), step("c")]))
    assert "2 steps of 3 ran in only one of them" in verdict(both)


def test_what_else_differs_is_told() -> None:
    before, after = run(), run(settings_hash="other", concurrency=4, system={**record()["system"], "cpus": 8})
    assert compare(before, after).differs == [
        ("settings", "0123456789abcdef", "other"),
        ("concurrency", "1", "4"),
        ("cpus", "2", "8"),
    ]
    assert compare(run(system={}), run(system={"k3d": "v5"})).differs == [("k3d", "unknown", "v5")]
    assert compare(run(), run()).differs == []
