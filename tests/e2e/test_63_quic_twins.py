"""The oracle of test_50_twins.py, with both connectors over QUIC."""

import pytest
from test_50_twins import compare_twins, params

RACES = (
    "upload/chunked empty",  # whether the end comes with the head or behind it
)


@pytest.mark.parametrize("case, version", [p for p in params() if p.values[0].name not in RACES])
def test_twins(stage, case, version):
    compare_twins(stage, case, version, "quic")
