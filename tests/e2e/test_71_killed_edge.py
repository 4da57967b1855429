"""An edge that is killed while it writes has kept every change that it acknowledged.

KILLS says how often (`./dev test --long`: 1,000 times). The kernel lives on: what a loss of power does is SQLite's promise
(synchronous=FULL, src/store/sqlite), and not tried here.
"""

import base64
import http.client
import json
import os
import random
import re
import ssl
import threading
import time
import uuid

import pytest

from testenv.edge import ZONE
from testenv.program import PATIENCE

KILLS = int(os.environ.get("KILLS", 1000 if os.environ.get("ADIT_LONG") else 20))
WRITERS = 3
KEPT = 12  # of each writer and kind: then older ones are removed again


class Api:
    """One connection that is kept; the owner of a login certificate."""

    def __init__(self, edge, who):
        context = ssl.create_default_context(cafile=str(edge.ca))
        self.who = who
        self.connection = http.client.HTTPSConnection("127.0.0.1", edge.https, context=context, timeout=20)

    def ask(self, method, path, body=None):
        path = path.format(account=self.who["accountID"], zone=self.who["zoneID"])
        self.connection.request(method, f"/client/v4/{path}", json.dumps(body) if body is not None else None,
                                {"Authorization": f"Bearer {self.who['apiToken']}"})  # fmt: skip
        response = self.connection.getresponse()
        answer = json.loads(response.read())
        assert response.status == 200 and answer["success"], (method, path, response.status, answer)
        return answer["result"]


class Book:
    """What was acknowledged, and the one change of which nobody knows."""

    def __init__(self, name):
        self.name = name
        self.there = {"tunnels": {}, "records": {}}
        self.gone = {"tunnels": set(), "records": set()}
        self.doubt = None  # (kind, label): may be there or not
        self.writes = 0

    def begin(self, kind, label):
        self.doubt = (kind, label)

    def added(self, kind, label, id):
        self.there[kind][label] = id
        self.doubt = None
        self.writes += 1

    def removed(self, kind, label):
        self.gone[kind].add(label)
        self.doubt = None
        self.writes += 1


def one_write(api, book, rng):
    kind = rng.choice(["tunnels", "records"])
    if len(book.there[kind]) >= KEPT or (book.there[kind] and rng.random() < 0.3):
        label = rng.choice(sorted(book.there[kind]))
        id = book.there[kind].pop(label)
        book.begin(kind, label)
        where = "accounts/{account}/cfd_tunnel/" if kind == "tunnels" else "zones/{zone}/dns_records/"
        api.ask("DELETE", where + id)
        book.removed(kind, label)
        return
    label = f"{book.name}-{rng.randrange(1 << 48):012x}"
    book.begin(kind, label)
    if kind == "tunnels":
        secret = base64.b64encode(rng.randbytes(32)).decode()
        made = api.ask("POST", "accounts/{account}/cfd_tunnel", {"name": label, "tunnel_secret": secret})
        assert uuid.UUID(made["id"])
    else:
        made = api.ask("POST", "zones/{zone}/dns_records", {"type": "TXT", "name": f"{label}.{ZONE}", "content": label})
    book.added(kind, label, made["id"])


def listed(api, path, name):
    """Every page of a list: label -> id."""
    found = {}
    for page in range(1, 100):
        rows = api.ask("GET", f"{path}{'&' if '?' in path else '?'}page={page}&per_page=100")
        found.update({name(row): row["id"] for row in rows})
        if len(rows) < 100:
            return found
    raise AssertionError("a list without an end")


def compare(edge, who, books):
    api = Api(edge, who)
    found = {
        "tunnels": listed(api, "accounts/{account}/cfd_tunnel?is_deleted=false", lambda row: row["name"]),
        "records": listed(api, "zones/{zone}/dns_records?type=TXT", lambda row: row["name"].split(".")[0]),
    }
    for book in books:
        kind, label = book.doubt or (None, None)
        if label:
            id = found[kind].get(label)
            # What became of it is known from here on.
            if id:
                book.there[kind][label] = id
            book.doubt = None
        for kind in found:
            lost = {k for k, v in book.there[kind].items() if found[kind].get(k) != v}
            back = {k for k in book.gone[kind] if k in found[kind]}
            assert not lost, f"acknowledged, and lost: {kind} {sorted(lost)}"
            assert not back, f"acknowledged as removed, and back: {kind} {sorted(back)}"
            mine = {k for k in found[kind] if k.startswith(book.name + "-")}
            assert mine == set(book.there[kind]), f"from nowhere: {sorted(mine - set(book.there[kind]))}"


@pytest.mark.timeout(1800)
def test_what_was_acknowledged_is_there_after_a_kill(own):
    edge = own.edge()
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    who = json.loads(base64.b64decode(re.sub(r"-----.*?-----|\s", "", edge.cert())))
    books = [Book(f"w{i}") for i in range(WRITERS)]
    problems = []

    for _ in range(KILLS):
        dead = threading.Event()

        def write(book, seed):
            mine = random.Random(seed)
            try:
                api = Api(edge, who)
                while not dead.is_set():
                    one_write(api, book, mine)
            except (OSError, http.client.HTTPException) as e:
                if not dead.is_set():
                    # Noticed before the killer has said so; anything else is a fault.
                    if not dead.wait(5):
                        problems.append(repr(e))
            except (AssertionError, ValueError) as e:
                problems.append(repr(e))

        threads = [threading.Thread(target=write, args=(book, rng.random())) for book in books]
        for t in threads:
            t.start()
        time.sleep(rng.random() * 0.12 * PATIENCE)  # the moment is the point of it
        edge.kill()
        dead.set()
        for t in threads:
            t.join(30)
        assert not problems, problems
        edge.start()
        compare(edge, who, books)
    writes = sum(book.writes for book in books)
    print(f"{KILLS} kills, {writes} acknowledged changes, none lost")
    assert writes > KILLS / 4, "hardly anything was written"
