"""The oracle of test_50_twins.py, with both connectors over QUIC."""

import pytest
from test_50_twins import compare_twins, params

RACES = (
    "upload/chunked empty",  # whether the end comes with the head or behind it
)


# What has its own way over QUIC; the rest is for long runs.
OFTEN = ("trailers/", "socket/", "tcp/", "upload/", "interim/", "reuse/", "target/asterisk")


def often_first():
    for param in params():
        case, version = param.values
        if case.name in RACES:
            continue
        marks = [*param.marks] if case.name.startswith(OFTEN) else [*param.marks, pytest.mark.long]
        yield pytest.param(case, version, id=param.id, marks=marks)


@pytest.mark.parametrize("case, version", often_first())
def test_twins(stage, case, version):
    compare_twins(stage, case, version, "quic")
