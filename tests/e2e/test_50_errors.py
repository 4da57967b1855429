"""Errors say which hop failed and why, in the form the visitor understands, under one request id."""

import json
import re

import pytest

from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.visitor import Visitor

HTML = [("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")]
JSON = [("Accept", "application/json")]
PLAIN = [("Accept", "*/*")]


def ask(visitor, host, headers):
    answer = visitor.get(host, "/some/path", "--insecure", headers=headers)
    assert answer.get("cache-control") == "no-store"
    return answer


def ray(answer):
    return answer.get("cf-ray").split("-")[0]


def test_unknown_host(ours, visitor):
    host = f"nobody.{ZONE}"
    answer = ask(visitor, host, JSON)
    assert answer.status == 404 and answer.get("content-type").startswith("application/json")
    said = json.loads(answer.body)
    assert said["status"] == 404 and said["hop"] == "edge" and said["host"] == host
    assert said["request_id"] == ray(answer)
    page = ask(visitor, host, HTML)
    assert page.status == 404 and page.get("content-type") == "text/html; charset=utf-8"
    assert host in page.text and ray(page) in page.text
    line = ask(visitor, host, PLAIN)
    assert line.status == 404 and line.text.startswith("error code: 404") and line.text.count("\n") == 1


def test_no_connector(ours, stage, visitor):
    host = f"lonely.{ZONE}"
    ours.cli.create(f"lonely-{visitor.version}")
    ours.cli.check("tunnel", "route", "dns", "--overwrite-dns", f"lonely-{visitor.version}", host)
    answer = ask(visitor, host, JSON)
    assert answer.status == 530
    said = json.loads(answer.body)
    assert said["code"] == 1033 and said["hop"] == "tunnel" and said["host"] == host
    page = ask(visitor, host, HTML)
    assert page.status == 530 and "1033" in page.text and host in page.text
    assert ask(visitor, host, PLAIN).text.startswith("error code: 1033")


CASES = {  # host: status of adit, errno, part of the explanation
    "refused": (502, "ECONNREFUSED", "refused"),
    "stuck": (504, "ETIMEDOUT", "tim"),
    "untrusted": (502, None, "certificate"),
    "unresolved": (502, None, "no-such-host.invalid"),
}


@pytest.mark.parametrize("case", CASES)
def test_origin_does_not_answer(site, stage, visitor, case):
    status, errno, why = CASES[case]
    host = site.host(case)
    answer = ask(visitor, host, JSON)
    said = json.loads(answer.body)
    if site.kind == "stock":  # it keeps the reason for its own log
        assert answer.status == 502 and said["hop"] == "connector"
        site.connector.wait_log(r"Unable to reach the origin service")
        return
    assert answer.status == status
    assert said["status"] == status and said["hop"] == "origin" and said["request_id"] == ray(answer)
    [rule] = [r for r in stage.rules(site) if r.get("hostname") == host]
    assert said["origin"].rsplit(":", 1)[0] == rule["service"].rsplit(":", 1)[0]
    assert re.fullmatch(rf"[0-9]+: {re.escape(host)}.*", said["rule"])
    if errno:
        assert said["errno"] == errno
    assert why in said["detail"].lower()
    # Both programs' logs have the same id, and the connector's has the reason.
    stage.edge.program.wait_log(rf"cfRay={ray(answer)}.*origin=\"?{re.escape(said['origin'])}")
    line = site.connector.wait_log(rf"cfRay={ray(answer)}.*originService=.*").group()
    assert said["origin"] in line and (not errno or errno in line)


def test_error_page_for_people(ours, visitor):
    page = ask(visitor, ours.host("refused"), HTML)
    assert page.status == 502 and page.get("content-type") == "text/html; charset=utf-8"
    for part in ("ECONNREFUSED", "http://127.0.0.1:", ours.host("refused"), ray(page)):
        assert part in page.text, part
    assert re.search(r'class="bad"><b>Service', page.text) and re.search(r'class="ok"><b>Connector', page.text)
    line = ask(visitor, ours.host("refused"), PLAIN)
    assert "ECONNREFUSED" in line.text and ray(line) in line.text and line.text.count("\n") == 1


def test_error_texts_are_escaped(ours, raw):
    connection = raw(ours.host("app"))
    connection.host = "<script>alert(1)</script>.example.com"
    connection.request("GET", "/<script>", [("Accept", "text/html")])
    answer = connection.read()
    assert answer.status in (400, 404) and b"<script>" not in answer.body


def test_head_of_an_error(ours, visitor):
    answer = visitor.get(ours.host("refused"), "/", method="HEAD")
    assert answer.status == 502 and int(answer.get("content-length")) > 0


def test_origin_breaks_off_before_the_head(ours, stage, visitor, origin):
    def handler(r):
        r.sock.sendall(b"HTTP/1.1 200 O")
        r.cut()

    answer = visitor.get(ours.host("app"), origin.on(handler), headers=JSON)
    assert answer.status == 502 and json.loads(answer.body)["hop"] == "origin"


def test_stock_error_has_no_connector_text(site, visitor):
    """An error of the connector is the edge's page, whoever the connector is: never an empty 502."""
    answer = ask(visitor, site.host("refused"), PLAIN)
    assert answer.status == 502 and answer.body


def test_deleted_tunnel_is_no_connector(own, tmp_path):
    edge = own.edge()
    cli = own.cli(edge)
    tunnel = cli.create("short-lived")
    cli.route(tunnel, f"app.{ZONE}")
    connector = cli.connect(tunnel, write_config(tmp_path / "c.yml", tunnel, []))
    visitor = Visitor(edge, "http2", tmp_path)
    assert visitor.get(f"app.{ZONE}", "/").status == 404
    cli.check("tunnel", "delete", "-f", "short-lived")
    edge.wait_connections(0)
    # The name goes with its tunnel, or points to nothing: either way it is not served.
    assert visitor.get(f"app.{ZONE}", "/", "--insecure").status in (404, 530)
    connector.stop()


def test_plain_http_is_redirected(ours, stage):
    from testenv.program import check

    out = check(["curl", "-sSi", "--resolve", f"{ours.host('app')}:{stage.edge.http}:127.0.0.1",
                 f"http://{ours.host('app')}:{stage.edge.http}/a%20b?c=d&e"])  # fmt: skip
    assert out.startswith("HTTP/1.1 301 ")
    assert f"location: https://{ours.host('app')}:{stage.edge.https}/a%20b?c=d&e" in out.lower().replace("\r", "")
