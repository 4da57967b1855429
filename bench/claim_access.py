"""Claim: being asked who one is costs a signed-in visitor next to nothing.

The same edge, connector and origin; what differs is the hostname: one that nobody guards, one behind an application
with a token in a cookie as browsers send it, one behind an application among a thousand, and one with the secret of a
service token in each request. 1 KiB answers over HTTPS with HTTP/1.1 keep-alive, as in the claim `small`; what is
compared is the CPU of the edge.
"""

import http.client
import json
import re
import socket

import chains
from claim_small import steady
from lab import HOST, CannotMeasure, Chain

GUARDED, MANY, SERVICE = (f"{name}.example.com" for name in ("guarded", "many", "service"))
OPEN, COOKIE, AMONG, SECRET = "nobody is asked", "token in a cookie", "the same, 1000 applications", "service token"
PERSON, PASSWORD = "ann@example.com", "sesame"
APPLICATIONS = 1000


class Admin(http.client.HTTPConnection):
    def __init__(self, data):
        super().__init__("adit", timeout=60)
        self.at = str(data / "admin.sock")

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.at)

    def make(self, path, **body):
        self.request("POST", f"/admin/v1/access/{path}", json.dumps(body), {"Content-Type": "application/json"})
        said = json.loads(self.getresponse().read())
        if not said["success"]:
            raise CannotMeasure(f"access/{path}: {said['errors']}")
        return said["result"]


def guard(edge):
    admin = Admin(edge.data)
    admin.make("identity_providers", name="Password", type="password")
    admin.make("people", email=PERSON, password=PASSWORD)
    rule = {"email_domain": {"domain": "example.com"}}
    staff = admin.make("policies", name="Staff", decision="allow", include=[rule])["id"]
    token = admin.make("service_tokens", name="bench")
    machine = {"service_token": {"token_id": token["id"]}}
    machines = admin.make("policies", name="Machines", decision="non_identity", include=[machine])["id"]
    admin.make("apps", name="guarded", domain=GUARDED, policies=[staff])
    admin.make("apps", name="service", domain=SERVICE, policies=[machines])
    admin.close()
    return staff, token


def crowd(edge, staff):
    """A thousand applications more, all of which the edge knows with each request."""
    admin = Admin(edge.data)
    for number in range(APPLICATIONS - 3):
        admin.make("apps", name=f"a{number}", domain=f"a{number}.example.com/x", policies=[staff])
    admin.make("apps", name="many", domain=MANY, policies=[staff])
    admin.close()


def sign_in(lab, chain):
    """The cookies of somebody who has signed in, as a browser would send them."""
    jar = lab.scratch / f"{chain.host}.cookies"
    common = ["-L", "-b", jar, "-c", jar]
    page = lab.curl(chain, "/small", *common, "-w", "\n%{url_effective}")
    url = page.splitlines()[-1]
    form = dict(re.findall(r'name="(csrf|provider)" value="([^"]*)"', page))
    fields = [x for n, v in {**form, "email": PERSON, "password": PASSWORD}.items() for x in ("--data-urlencode", f"{n}={v}")]
    lab.run(["curl", "-sS", "--fail", "--http1.1", "--cacert", chain.ca, "--resolve", f"{chain.host}:{chain.port}:127.0.0.1",
             *common, *fields, "-o", "/dev/null", url])  # fmt: skip
    cookies = {}
    for line in jar.read_text().splitlines():
        columns = line.removeprefix("#HttpOnly_").split("\t")
        if len(columns) == 7 and columns[0] == chain.host:
            cookies[columns[5]] = columns[6]
    if "CF_Authorization" not in cookies:
        raise CannotMeasure(f"{chain.host}: signing in gave no token")
    return ["cookie: " + "; ".join(f"{n}={v}" for n, v in cookies.items()), "sec-fetch-site: none"]


def subjects(lab, edge):
    """[(name, chain, fields)]"""
    connector = edge.start_connector()
    parts = {"edge": edge.program, "connector": connector}

    def chain(name, host):
        return Chain(name, edge.https, parts, host, edge.ca)

    staff, token = guard(edge)
    yield OPEN, chain(OPEN, HOST), []
    mine = chain(COOKIE, GUARDED)
    yield COOKIE, mine, sign_in(lab, mine)
    yield SECRET, chain(SECRET, SERVICE), [f"cf-access-client-id: {token['client_id']}",
                                           f"cf-access-client-secret: {token['client_secret']}"]  # fmt: skip
    # Last, as these are there for all from then on; without them first, that it can be told what they add.
    yield None, staff, None


def measure(lab, results, found, connections, rounds, warm, seconds):
    case = f"{connections} conn"
    for turn in range(rounds):
        for name, chain, fields in found:
            try:
                numbers = steady(lab, chain, connections, warm, seconds, fields)
            except CannotMeasure as e:
                results.fail(f"{name}, {case}, round {turn + 1}", e)
                continue
            for metric, value in numbers.items():
                results.add(case, name, metric, turn, value)
            print(f"  {case:8} {turn + 1}/{rounds} {name:28} {numbers['edge µs']:7.1f} µs at the edge", flush=True)


def run(lab, results):
    rounds, warm, seconds = (1, 0.5, 0.7) if lab.quick else (5, 1.0, 2.5)
    try:
        edge = chains.Edge(lab)
        for host in (GUARDED, MANY, SERVICE):
            edge.route("ours", host)
        *found, (_, staff, _) = subjects(lab, edge)
    except CannotMeasure as e:
        results.fail("access", e)
        return
    cases = (64,) if lab.quick else (1, 64)
    for connections in cases:
        measure(lab, results, found, connections, rounds, warm, seconds)
    crowd(edge, staff)
    parts = found[0][1].parts
    many = Chain(AMONG, edge.https, parts, MANY, edge.ca)
    again = [(f"{OPEN}, 1000 applications", found[0][1], []), (AMONG, many, sign_in(lab, many))]
    for connections in cases:
        measure(lab, results, again, connections, rounds, warm, seconds)
    chains.stop(lab, [found[0][1]])
