"""Pages: whole, valid, and nothing that a record holds becomes markup."""

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

from tasks.engine.record import RunRecord
from tasks.runs.compare import compare
from tasks.runs.history import trend
from tasks.runs.page import history_html, html
from tests.runs.records import FAILED_LOGS, HOSTILE, every_run, failed, logs, many, run, skipped, step

_VOID = {"meta", "link", "input"}


class Page(HTMLParser):
    """Its elements, texts and attributes; fails for an element that does not end where it should."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        expected = {key.rstrip("_"): value for key, value in attributes.items()}
        return [attrs for name, attrs in self.found if name == tag and expected.items() <= attrs.items()]


def pages(result: RunRecord) -> list[str]:
    """Alone, against another run, and in a history."""
    return [
        html(result, FAILED_LOGS),
        html(result, {}, compare(run(), result)),
        history_html(trend([result, run()]), {"k3d": {HOSTILE: 1.0}}),
    ]


@every_run
def test_a_page_is_one_file_of_which_only_our_script_runs(result: RunRecord) -> None:
    for text in pages(result):
        page = Page(text)
        assert text.startswith("<!DOCTYPE html>\n<html")
        assert not [attrs for _, attrs in page.found if {"src", "onerror", "onload", "style"} & attrs.keys()]
        assert not re.search(r"https?://", text)
        (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
        for tag in ("style", "script"):
            (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
            digest = b64encode(sha256(inside.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in str(policy["content"])


def test_each_step_has_its_row_and_each_bar_points_at_one() -> None:
    result = run()
    page = Page(html(result, {}, compare(run(), result)))
    ids = [attrs["id"] for attrs in page.all("details") if str(attrs.get("class")).startswith("step")]
    assert len(ids) == len(result.acted)
    assert {attrs["data-for"] for _, attrs in page.found if "data-for" in attrs} == set(ids)
    assert len(page.all("div", class_="row same")) == len(result.acted)


def test_a_failure_stands_at_the_top_with_the_end_of_its_log() -> None:
    text = html(failed(), FAILED_LOGS)
    assert text.index("What failed") < text.index("Overview")
    for part in ("the chart does not exist", "$ helm pull repo/one", "Error: 404", "/logs/helm--one.log"):
        assert part in text[: text.index("Overview")]


def test_what_did_not_act_is_told_with_its_reason() -> None:
    texts = Page(html(run([skipped("a"), skipped("b"), skipped("c", why="off"), step("d")]), {})).texts
    assert "3 steps skipped" in texts
    assert [each for each in texts if each in ("it is there", "a", "b", "c", ": off")] == [
        "it is there",
        "a",
        "b",
        "c",
        ": off",
    ]


def test_a_page_of_many_steps_stays_small() -> None:
    result = many(500)
    assert len(html(result, logs(result))) < 1_500_000


def test_a_history_shows_each_run_and_where_a_change_began() -> None:
    runs = [
        run(name=f"r{minute}", started=f"2026-11-25T04:{minute:02d}:00.000Z", wall_s=16.0 - 5 * (minute > 20))
        for minute in range(40)
    ]
    page = Page(history_html(trend(runs), {}))
    assert len(page.all("circle")) == len(runs)
    assert len(page.all("line", class_="level")) == 2
    assert any("faster from here on: median 16.0 s before, 11.0 s since" in text for text in page.texts)
