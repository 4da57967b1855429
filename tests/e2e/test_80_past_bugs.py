"""What once was wrong, and has no better place among the features."""

import subprocess


def test_control_host_that_is_an_address(own):
    """Who dials an address sends no server name: the certificate has to be the control host's all the same."""
    edge = own.edge()
    done = subprocess.run(["curl", "-sS", "--cacert", edge.ca, f"{edge.api_url}/user/tokens/verify"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)  # fmt: skip
    assert done.returncode == 0, done


def test_hundreds_of_requests_over_one_origin_connection(ours, raw, origin):
    """A pooled connection is as good the thousandth time."""
    path = origin.on(lambda r: r.reply(200, body=r.read_body()))
    connection = raw(ours.host("app"))
    for i in range(1000):
        connection.request("POST", path, [("Content-Length", "3")], b"%03d" % i)
        assert connection.read().body == b"%03d" % i
