import pytest

from tasks.core.errors import BadInput
from tasks.rehearsal.model import Profile
from tasks.rehearsal.what_if import WhatIf, rate, what_if


@pytest.mark.parametrize(
    ("text", "bytes_per_second"),
    [
        ("20Mbit", 2.5e6),
        ("20 mbps", 2.5e6),
        ("1Gbit/s", 125e6),
        ("8MB", 8e6),
        ("50kB/s", 50e3),
        ("2.5MB", 2.5e6),
        ("800bit", 100.0),
    ],
)
def test_a_line_is_told_in_bits_or_bytes(text: str, bytes_per_second: float) -> None:
    assert rate(text) == bytes_per_second


@pytest.mark.parametrize("text", ["", "fast", "20", "20M", "0Mbit", "-1MB", "20Mbit per second", "1e3MB", "MB"])
def test_what_is_no_line_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadInput, match="--line is") as caught:
        rate(text)
    assert "20Mbit" in caught.value.fix


@pytest.mark.parametrize(
    ("options", "output"),
    [
        ({"cores": "many"}, "--cores is 'many'"),
        ({"cores": "0"}, "--cores is '0'"),
        ({"cores": "nan"}, "--cores is 'nan'"),
        ({"time_scale": "-1"}, "--time-scale is '-1'"),
        ({"faults": ["no-such"]}, "no-such"),
        ({"faults": ["hangs=helm,after=soon"]}, "after=soon"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, object], output: str) -> None:
    with pytest.raises(BadInput, match=output):
        what_if(**options)  # type: ignore[arg-type]


def test_options_become_one_value() -> None:
    result = what_if(cores="8", line="8MB", no_cache=True, time_scale="0", timing="slow", faults=["hangs=helm,times=1"])
    assert (result.cores, result.line, result.cache, result.scale, result.timing) == (8.0, 8e6, False, 0.0, "slow")
    assert result.faults == ({"name": "hangs", "target": "helm", "times": 1},)
    assert result.asked


@pytest.mark.parametrize("options", [{}, {"time_scale": "0"}, {"faults": ["hangs"]}])
def test_a_plan_alone_answers_where_nothing_else_is_asked(options: dict[str, object]) -> None:
    assert not what_if(**options).asked  # type: ignore[arg-type]


def test_the_machine_is_the_recorded_one_but_for_what_is_asked() -> None:
    profile = Profile(cores=2.0, connection_mb=8.0)
    assert WhatIf().machine(profile).cores == 2.0
    assert WhatIf().machine(profile).connection == 8e6
    machine = WhatIf(cores=8.0, line=1e6).machine(profile)
    assert (machine.cores, machine.line, machine.connection) == (8.0, 1e6, None)
