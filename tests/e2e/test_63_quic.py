"""QUIC between edge and connector: what the tests of HTTP/2 ask for, and what only QUIC has."""

import re

import pytest
from conftest import need

# What a service sees and a visitor gets does not depend on how the two are joined.
from test_50_bodies import test_download, test_upload  # noqa: F401
from test_50_traffic import test_get  # noqa: F401
from test_50_websocket import test_echo, test_the_origin_speaks_first  # noqa: F401


@pytest.fixture(params=["stock"])
def site(request, stage):
    need(request.param)
    site = stage.site(request.param, "quic")
    yield site
    stage.origin.forget()
    stage.second.forget()


def test_it_is_quic(site, stage):
    stage.edge.program.wait_log(rf"connector registered.*{site.tunnel.id}", count=4)
    registered = re.findall(rf"connector registered.*{site.tunnel.id}.*", stage.edge.program.text())
    assert all("quic" in line for line in registered), registered
