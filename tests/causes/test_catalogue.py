"""The catalogue as a whole: every cause is tested on real output, and its texts can be filled in."""

from __future__ import annotations

import re
import string

import pytest

from tasks.diagnose import node_rules
from tasks.diagnose.diagnosis import Cause, catalogue
from tests.causes.deaths import DEATHS
from tests.diagnose import test_api, test_api_passing, test_docker, test_helm, test_images, test_k3d, test_network

_ALL = (*catalogue(), *(cause for cause in node_rules.CAUSES))
_ELSEWHERE = {"killed", "wrong-processor"}
"""Tested in test_find.py."""


def test_every_cause_is_met_by_an_output() -> None:
    cases = [
        case
        for module in (test_api, test_api_passing, test_docker, test_helm, test_images, test_k3d, test_network)
        for case in module.CASES
    ]
    met = {case.cause for case in cases} | {death.cause for death in DEATHS} | _ELSEWHERE
    assert {cause.id for cause in _ALL} - met == set()
    assert met - {cause.id for cause in _ALL} == set()


@pytest.mark.parametrize("cause", _ALL, ids=lambda cause: str(cause.id))
def test_texts_use_only_what_a_pattern_captures(cause: Cause) -> None:
    used = {
        name for text in (cause.what, cause.why, cause.fix) for _, name, _, _ in string.Formatter().parse(text) if name
    }
    for pattern in cause.patterns:
        known = set(re.compile(pattern).groupindex) | set(cause.otherwise) | {"line"}
        assert used <= known, (pattern, used - known)
    assert cause.patterns or cause.codes
    assert not cause.what[0].isspace()
    assert cause.fix


def test_ids_are_words_with_dashes() -> None:
    assert all(
        re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+|proxy|dns|clock|forbidden|conflict|killed", cause.id) for cause in _ALL
    )
