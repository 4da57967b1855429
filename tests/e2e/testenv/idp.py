"""Identity providers that do as a test says: OpenID Connect and GitHub's OAuth, over HTTPS, with an authority of their
own. The person's part of a sign-in is `authorize()`: it takes the URL the edge sends a browser to, and returns the one
the provider would send it back to."""

import base64
import hashlib
import json
import secrets
import ssl
import time
import urllib.parse

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from .origin import Origin
from .program import check
from .team import Key, number

CLIENT, SECRET = "the client", "s&cr=t of the client"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def context_of(folder, host="localhost"):
    """A server's side of TLS, and who vouches for it."""
    folder.mkdir()
    ca, cert, key = folder / "ca.pem", folder / "server.pem", folder / "server.key"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
    check(["openssl", "req", "-x509", *curve, "-keyout", folder / "ca.key", "-out", ca, "-subj", "/CN=idp"])
    check(["openssl", "req", "-x509", *curve, "-keyout", key, "-out", cert, "-subj", f"/CN={host}",
           "-addext", f"subjectAltName=DNS:{host},DNS:localhost,IP:127.0.0.1", "-addext",
           "basicConstraints=critical,CA:FALSE", "-CA", ca, "-CAkey", folder / "ca.key"])  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, ca


class EcKey:
    """ES256."""

    algorithm = "ES256"

    def __init__(self, kid):
        self.kid = kid
        self.private = ec.generate_private_key(ec.SECP256R1())

    def jwk(self):
        n = self.private.public_key().public_numbers()
        x, y = (b64(v.to_bytes(32, "big")) for v in (n.x, n.y))
        return {"kid": self.kid, "kty": "EC", "crv": "P-256", "use": "sig", "x": x, "y": y}


class PsKey:
    algorithm = "PS256"

    def __init__(self, kid):
        self.kid = kid
        self.private = rsa.generate_private_key(65537, 2048)

    def jwk(self):
        n = self.private.public_key().public_numbers()
        return {"kid": self.kid, "kty": "RSA", "alg": "PS256", "n": number(n.n), "e": number(n.e)}


Key.algorithm = "RS256"


def query_of(request):
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(request.target).query))


def reply_json(request, status, body):
    request.reply(status, [("Content-Type", "application/json")], json.dumps(body).encode())


class Provider:
    """What both have: codes that wait to be exchanged, with what the edge said when it sent the browser."""

    def __init__(self, folder):
        context, self.ca = context_of(folder)
        self.server = Origin(tls=context)
        self.codes = {}
        self.url = f"https://127.0.0.1:{self.server.port}"

    def config(self, **more):
        return {"client_id": CLIENT, "client_secret": SECRET, "ca_file": str(self.ca), **more}

    def asked(self, path):
        return len(self.server.requests(path))

    def authorize(self, url, **more):
        sent = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
        assert sent["client_id"] == CLIENT and sent["response_type"] == "code", sent
        assert sent["code_challenge_method"] == "S256" and len(sent["state"]) >= 43, sent
        code = secrets.token_urlsafe(16)
        self.codes[code] = sent
        back = {"code": code, "state": sent["state"], **more}
        back = {name: value for name, value in back.items() if value is not None}
        return f"{sent['redirect_uri']}?{urllib.parse.urlencode(back)}"

    def take_code(self, form):
        """What was said when it was made; None: it is no code, or not this client's (RFC 6749, RFC 7636)."""
        sent = self.codes.pop(form.get("code"), None)
        challenge = b64(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if sent and sent["code_challenge"] == challenge and sent["redirect_uri"] == form.get("redirect_uri"):
            return sent
        return None

    def close(self):
        self.server.close()


class Oidc(Provider):
    def __init__(self, folder, key=None):
        super().__init__(folder)
        self.keys = [key or Key("first")]
        self.person = {"email": "ann@example.com", "email_verified": True, "name": "Ann Example"}
        self.userinfo = None  # what only this endpoint says
        self.changed = {}  # claims of the next ID token that are different; None: left out
        self.header = {}
        self.forge = None  # makes the next ID token of its claims
        self.token_error = None  # status, and body as JSON or bytes
        self.described = {}  # what the configuration document says differently
        for path, handler in {
            "/.well-known/openid-configuration": self._describe,
            "/jwks": self._publish,
            "/token": self._token,
            "/me": self._me,
        }.items():
            self.server.handlers[path] = handler

    def config(self, **more):
        return super().config(**{"issuer": self.url, **more})

    def reset(self):
        self.changed, self.header, self.forge, self.token_error, self.userinfo = {}, {}, None, None, None
        self.described = {}

    def _describe(self, request):
        u = self.url
        reply_json(request, 200, {
            "issuer": u, "authorization_endpoint": f"{u}/auth", "token_endpoint": f"{u}/token", "jwks_uri": f"{u}/jwks",
            "userinfo_endpoint": f"{u}/me", **self.described,
        })  # fmt: skip

    def _publish(self, request):
        reply_json(request, 200, {"keys": [k.jwk() for k in self.keys]})

    def _token(self, request):
        form = dict(urllib.parse.parse_qsl(request.read_body().decode()))
        if self.token_error:
            status, body = self.token_error
            if isinstance(body, bytes):
                request.reply(status, [("Content-Type", "text/html")], body)
            else:
                reply_json(request, status, body)
            return
        pair = f"{urllib.parse.quote(CLIENT)}:{urllib.parse.quote(SECRET)}".encode()
        if request.get("Authorization") != "Basic " + base64.b64encode(pair).decode() or "client_secret" in form:
            reply_json(request, 401, {"error": "invalid_client"})
            return
        sent = self.take_code(form)
        if not sent:
            reply_json(request, 400, {"error": "invalid_grant"})
            return
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "sub": "248289761001", "iat": now, "exp": now + 600, "nonce": sent.get("nonce"),
                  **self.person, **self.changed}  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        key = self.keys[-1]
        token = (
            self.forge(claims)
            if self.forge
            else jwt.encode(claims, key.private, algorithm=key.algorithm, headers={"kid": key.kid, **self.header})
        )
        reply_json(request, 200, {"access_token": "opaque", "token_type": "Bearer", "id_token": token})

    def _me(self, request):
        if self.userinfo is None or request.get("Authorization") != "Bearer opaque":
            reply_json(request, 403, {"error": "insufficient_scope"})
        else:
            reply_json(request, 200, self.userinfo)


class GitHub(Provider):
    """An Enterprise Server: its API is below /api/v3."""

    def __init__(self, folder):
        super().__init__(folder)
        self.user = {"login": "ann", "name": "Ann Example"}
        self.emails = [
            {"email": "private@evil.test", "primary": False, "verified": True},
            {"email": "ann@example.com", "primary": True, "verified": True},
        ]
        self.orgs, self.teams = [], []
        self.server.handlers["/login/oauth/access_token"] = self._token
        for path, what in {"/user": "user", "/user/emails": "emails", "/user/orgs": "orgs", "/user/teams": "teams"}.items():
            self.server.handlers[f"/api/v3{path}"] = lambda request, what=what: self._api(request, what)

    def config(self, **more):
        return super().config(**{"github_url": self.url, **more})

    def is_in(self, organisation, *teams):
        self.orgs.append({"login": organisation})
        self.teams += [{"slug": t, "organization": {"login": organisation}} for t in teams]

    def _token(self, request):
        form = dict(urllib.parse.parse_qsl(request.read_body().decode()))
        if form.get("client_secret") != SECRET:
            reply_json(request, 200, {"error": "incorrect_client_credentials"})
        elif not self.take_code(form):
            reply_json(request, 200, {"error": "bad_verification_code", "error_description": "The code is wrong."})
        else:
            reply_json(request, 200, {"access_token": "gho_1", "scope": "user", "token_type": "bearer"})

    def _api(self, request, what):
        if request.get("Authorization") != "Bearer gho_1" or not request.get("User-Agent"):
            reply_json(request, 401, {"message": "Bad credentials"})
            return
        said = getattr(self, what)
        if isinstance(said, list):
            q = query_of(request)
            size, page = int(q.get("per_page", 30)), int(q.get("page", 1))
            said = said[(page - 1) * size : page * size]
        reply_json(request, 200, said)
