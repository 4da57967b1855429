"""Certificates of an ACME authority that end soon, and an authority that is gone meanwhile."""

import pytest

from testenv import pebble as pebbles
from testenv.acme import BUILT_IN, PEBBLE, Place, certificate, issuer, wait_issued
from testenv.edge import ZONE
from testenv.program import PATIENCE
from testenv.wait import wait_until

if pebbles.missing():
    pytest.skip(f"not installed: {' '.join(pebbles.missing())}", allow_module_level=True)

HOST = f"app.{ZONE}"


@pytest.fixture
def place(own, tmp_path):
    return Place(own, tmp_path)


def test_renewal_by_hand_and_by_time_with_the_authority_gone_in_between(place):
    place.pebble(seconds=20)
    place.start()
    place.route(HOST)
    wait_issued(place.edge, HOST)
    first = certificate(place.edge, HOST)
    wait_until(lambda: certificate(place.edge, HOST).serial_number != first.serial_number, "renewal", 40 * PATIENCE)
    second = certificate(place.edge, HOST)
    assert PEBBLE in second.issuer.rfc4514_string()
    place.authority.kill()
    place.edge.program.wait_log("no certificates can be ordered now.*localhost", seconds=90)
    done = place.edge.command("tls", "renew", HOST, seconds=90)
    assert done.returncode == 1 and "localhost" in done.stderr
    # It is in use as long as it is good, and then somebody else's is: nobody is turned away.
    assert certificate(place.edge, HOST).serial_number == second.serial_number
    wait_issued(place.edge, HOST, BUILT_IN, 90)
    place.own.helpers.append(place.authority.start().program)
    done = place.edge.command("tls", "renew", seconds=90)
    assert done.returncode == 0, done.stderr
    assert PEBBLE in issuer(place.edge, HOST)
