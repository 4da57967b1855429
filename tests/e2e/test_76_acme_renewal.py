"""Certificates of an ACME authority that end soon, and an authority that is gone meanwhile."""

import base64
import socket
import ssl
import threading

import pytest

from testenv import pebble as pebbles
from testenv.acme import BUILT_IN, PEBBLE, Place, certificate, issuer, wait_issued
from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.program import PATIENCE
from testenv.wait import wait_until

if pebbles.missing():
    pytest.skip(f"not installed: {' '.join(pebbles.missing())}", allow_module_level=True)

HOST = f"app.{ZONE}"


@pytest.fixture
def place(own, tmp_path):
    return Place(own, tmp_path)


class Visitors:
    """One after the other, each on a connection of his own, through a tunnel to a service."""

    def __init__(self, place):
        config = write_config(place.folder / "service.yml", place.tunnel, [{"hostname": HOST, "service": "http_status:204"}])
        place.own.connect(place.cli, place.tunnel, config)
        self.edge, self.count, self.failures, self.is_over = place.edge, 0, [], threading.Event()
        self.thread = threading.Thread(target=self._come, daemon=True)
        self.thread.start()

    def _come(self):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        while not self.is_over.wait(0.05):
            self.count += 1
            try:
                with socket.create_connection(("127.0.0.1", self.edge.https), timeout=30) as raw:
                    with context.wrap_socket(raw, server_hostname=HOST) as tls:
                        tls.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
                        answer = tls.recv(4096)
                        if not answer.startswith(b"HTTP/1.1 204"):
                            self.failures.append(answer)
            except OSError as e:
                self.failures.append(e)

    def stop(self):
        self.is_over.set()
        self.thread.join()
        return self.count, self.failures


def test_renewal_by_hand_and_by_time_with_the_authority_gone_in_between(place):
    place.pebble(seconds=20)
    place.start()
    place.route(HOST)
    wait_issued(place.edge, HOST)
    visitors = Visitors(place)
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
    count, failures = visitors.stop()
    assert count > 20 and failures == [], failures[:3]


@pytest.mark.long
def test_renewal_when_the_authority_asks_for_it(place):
    place.pebble(seconds=200)
    advice = pebbles.Advice(place.authority, place.certs)
    place.start(f'acme-directory: "{advice.url}/dir"')
    place.route(HOST)
    wait_issued(place.edge, HOST)
    first = certificate(place.edge, HOST)
    wait_until(lambda: advice.asked, "question when to renew", 30 * PATIENCE)
    assert certificate(place.edge, HOST).serial_number == first.serial_number
    # Of the certificate: the key id of who signed it, and its serial number.
    serial = first.serial_number.to_bytes((first.serial_number.bit_length() + 8) // 8, "big")
    assert advice.asked[0].split(".")[1] == base64.urlsafe_b64encode(serial).decode().rstrip("=")
    advice.is_due = True
    wait_until(lambda: certificate(place.edge, HOST).serial_number != first.serial_number, "renewal", 60 * PATIENCE)
