"""A service that says who may come in (external evaluation), over HTTPS with an authority of its own. It checks what it
is asked as a real one does, with the keys that the edge publishes, and answers as a test wants."""

import json
import ssl
import threading
import time
import urllib.request

import jwt

from .idp import context_of, reply_json
from .origin import Origin
from .team import Key


class Judge:
    def __init__(self, folder, edge):
        context, self.ca = context_of(folder)
        self.server = Origin(tls=context)
        self.server.handlers["/evaluate"] = self._evaluate
        self.server.handlers["/keys"] = self._publish
        self.url = f"https://127.0.0.1:{self.server.port}"
        self.edge = edge
        self.key = Key("judge")
        self.published = [self.key]
        self.gate = threading.Event()  # while it is not set nobody gets an answer
        self.reset()

    def rule(self):
        urls = {"evaluate_url": f"{self.url}/evaluate", "keys_url": f"{self.url}/keys", "ca_file": str(self.ca)}
        return {"external_evaluation": urls}

    def reset(self):
        self.gate.set()
        self.allowed = {"ann@example.com"}
        self.questions = []  # what was asked, checked
        self.changed = {}  # claims of the next answers that are different; None: left out
        self.forge = None  # makes the answer's token of its claims
        self.reply = None  # answers instead

    def claims_of(self, token):
        """The question, if it is the edge's."""
        context = ssl.create_default_context(cafile=str(self.edge.ca))
        url = f"{self.edge.public_url}/cdn-cgi/access/certs"
        with urllib.request.urlopen(url, context=context, timeout=30) as answer:
            keys = {k.key_id: k for k in jwt.PyJWKSet.from_dict(json.load(answer)).keys}
        key = keys[jwt.get_unverified_header(token)["kid"]]
        return jwt.decode(token, key.key, algorithms=["RS256"], audience=f"{self.url}/evaluate", issuer=self.edge.public_url)

    def sign(self, claims, key=None, **headers):
        key = key or self.key
        return jwt.encode(claims, key.private, algorithm="RS256", headers={"kid": key.kid, **headers})

    def _evaluate(self, request):
        assert request.method == "POST"
        question = self.claims_of(json.loads(request.read_body())["token"])
        self.questions.append(question)
        self.gate.wait(60)
        if self.reply:
            self.reply(request)
            return
        now = int(time.time())
        may = question["identity"]["email"] in self.allowed
        claims = {"success": may, "iat": now, "exp": now + 60, "nonce": question["nonce"], **self.changed}
        claims = {name: value for name, value in claims.items() if value is not None}
        reply_json(request, 200, {"token": self.forge(claims) if self.forge else self.sign(claims)})

    def _publish(self, request):
        reply_json(request, 200, {"keys": [k.jwk() for k in self.published]})

    def close(self):
        self.gate.set()
        self.server.close()
