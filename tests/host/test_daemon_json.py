"""What a daemon.json is read as, what is merged into it, and what is taken out of it again."""

import json
from typing import Any

import pytest

from tasks.host.daemon_json import DOWNLOADS, MIRRORS, UPLOADS, Change, Desired, NotPlain, dump, merged, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        (" \n", {}),
        ("\ufeff{}", {}),
        ('{"a": "http://x/* # */", "b": [1.5, null]}', {"a": "http://x/* # */", "b": [1.5, None]}),
    ],
)
def test_a_file_is_read_as_docker_reads_it(text: str, value: dict[str, Any]) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("[]", "line 1: an object in braces"),
        ("null", "line 1: an object in braces"),
        ('{\n  // mine\n  "a": 1}', "line 2: a comment"),
        ('{"a": 1 /* mine */}', "line 1: a comment"),
        ('# mine\n{"a": 1}', "line 1: a comment"),
        ('{"a": 1}\n// mine', "line 2: a comment"),
        ('{"a" 1}', "line 1: Expecting ':'"),
        ('{"a": 1', "line 1: Expecting ','"),
        ('{"a": 1} {"b": 2}', "line 1: Extra data"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": ' + "[" * 100000 + "}", "recursion"),
        ('{"a": {"b": 1,\n "b": 2}}', "'b' is a duplicate key"),
    ],
)
def test_what_is_no_json_object_is_refused(text: str, reported: str) -> None:
    with pytest.raises(NotPlain, match=reported):
        merged(text, DESIRED)


def test_what_is_written_is_indented_as_it_was() -> None:
    text = '{\n\t"ü": {"b": 1}\n}\n'
    assert merged(text, Desired(downloads=10)).text == dump({**parse(text), DOWNLOADS: 10}, text)
    assert dump({"ü": [1]}, text) == '{\n\t"ü": [\n\t\t1\n\t]\n}\n'
    assert dump({"a": 1}) == '{\n  "a": 1\n}\n'
    assert merged(text, Desired()).text == text
    with pytest.raises(NotPlain, match="too large to be written"):
        merged('{"a": 1e999}', DESIRED)


OURS = "http://127.0.0.1:5051"
DESIRED = Desired(downloads=10, uploads=5, mirror=OURS)
THEIRS = "https://mirror.example.com"


@pytest.mark.parametrize(
    ("before", "desired", "after", "reported"),
    [
        ({}, DESIRED, {DOWNLOADS: 10, UPLOADS: 5, MIRRORS: [OURS]}, [f"{DOWNLOADS}: 3 → 10", f"{UPLOADS}: 5 → 5"]),
        ({DOWNLOADS: 4}, Desired(downloads=10), {DOWNLOADS: 10}, [f"{DOWNLOADS}: 4 → 10"]),
        ({DOWNLOADS: 0}, Desired(downloads=10), {DOWNLOADS: 10}, [f"{DOWNLOADS}: 3 → 10"]),
        ({DOWNLOADS: 10}, Desired(downloads=10), {DOWNLOADS: 10}, []),
        ({DOWNLOADS: 20}, Desired(downloads=10), {DOWNLOADS: 20}, []),
        ({}, Desired(downloads=2), {DOWNLOADS: 2}, [f"{DOWNLOADS}: 3 → 2"]),
        ({MIRRORS: [THEIRS]}, Desired(mirror=OURS), {MIRRORS: [THEIRS, OURS]}, [f"{MIRRORS}: with {OURS}"]),
        ({MIRRORS: [f"{OURS}/"]}, Desired(mirror=OURS), {MIRRORS: [f"{OURS}/"]}, []),
        ({MIRRORS: None}, Desired(mirror=OURS), {MIRRORS: [OURS]}, [f"{MIRRORS}: with {OURS}"]),
        ({"debug": True, DOWNLOADS: 4}, Desired(), {"debug": True, DOWNLOADS: 4}, []),
    ],
)
def test_merging(before: dict[str, Any], desired: Desired, after: dict[str, Any], reported: list[str]) -> None:
    result = merged(json.dumps(before), desired)
    assert json.loads(result.text) == after
    assert list(result.messages[: len(reported)]) == reported
    assert bool(result.messages) == bool(reported)
    assert result.left == ((f"{DOWNLOADS} is 20, which is more than 10",) if 20 in before.values() else ())
    again = merged(result.text, desired, result.changes)
    assert (again.text, again.messages, again.changes) == (result.text, (), result.changes)


@pytest.mark.parametrize(
    "before",
    [
        "{}",
        '{"debug": true}',
        '{"max-concurrent-downloads": 4, "debug": true}',
        '{"registry-mirrors": ["https://mirror.example.com"],\n  "debug": true\n}',
        '{\n  "max-concurrent-uploads": 2,\n  "max-concurrent-downloads": 20,\n  "registry-mirrors": []\n}\n',
    ],
)
def test_merging_nothing_takes_out_what_is_ours(before: str) -> None:
    result = merged(before, DESIRED)
    assert result.messages
    back = merged(result.text, Desired(), result.changes)
    assert json.loads(back.text) == json.loads(before)
    assert not back.changes
    assert not back.left


def test_another_wish_takes_the_place_of_the_earlier_one_and_the_first_value_is_remembered() -> None:
    result = merged('{"max-concurrent-downloads": 4}', Desired(downloads=10, mirror=OURS))
    again = merged(result.text, Desired(downloads=6, mirror="http://127.0.0.1:5999"), result.changes)
    assert json.loads(again.text) == {DOWNLOADS: 6, MIRRORS: ["http://127.0.0.1:5999"]}
    assert again.changes[DOWNLOADS] == Change(set=6, there=True, was=4)
    assert again.messages == (
        f"{DOWNLOADS}: 10 → 6",
        f"{MIRRORS}: without {OURS}",
        f"{MIRRORS}: with http://127.0.0.1:5999",
    )
    back = merged(again.text, Desired(), again.changes)
    assert json.loads(back.text) == {DOWNLOADS: 4}


def test_a_wish_that_is_lower_than_what_was_there_gives_it_back() -> None:
    result = merged('{"max-concurrent-downloads": 8}', Desired(downloads=10))
    again = merged(result.text, Desired(downloads=5), result.changes)
    assert json.loads(again.text) == {DOWNLOADS: 8}
    assert not again.changes


def test_what_somebody_has_changed_since_is_theirs() -> None:
    result = merged("{}", DESIRED)
    document = json.loads(result.text)
    document.update({DOWNLOADS: 7, MIRRORS: [THEIRS]})
    back = merged(json.dumps(document), Desired(), result.changes)
    assert json.loads(back.text) == {DOWNLOADS: 7, MIRRORS: [THEIRS]}
    assert back.left == (f"{DOWNLOADS} was changed manually to 7", f"the mirror {OURS} was removed manually")
    assert not back.changes


@pytest.mark.parametrize(
    ("given", "after"),
    [
        ({DOWNLOADS}, {UPLOADS: 5, MIRRORS: [OURS]}),
        ({MIRRORS}, {DOWNLOADS: 10, UPLOADS: 5}),
        ({DOWNLOADS, UPLOADS, MIRRORS}, {}),
    ],
)
def test_a_key_that_is_an_argument_of_dockerd_is_left_out(given: set[str], after: dict[str, Any]) -> None:
    result = merged("{}", DESIRED, given=given)
    assert json.loads(result.text) == after
    assert len(result.left) == len(given)


@pytest.mark.parametrize(
    ("before", "reported"),
    [
        ({DOWNLOADS: "10"}, "not a whole number"),
        ({DOWNLOADS: True}, "not a whole number"),
        ({UPLOADS: 1.5}, "not a whole number"),
        ({MIRRORS: THEIRS}, "not a list of addresses"),
        ({MIRRORS: [1]}, "not a list of addresses"),
    ],
)
def test_values_that_docker_would_not_take_are_left(before: dict[str, Any], reported: str) -> None:
    with pytest.raises(NotPlain, match=reported):
        merged(json.dumps(before), DESIRED)
