#!/usr/bin/python3
"""Makes statements.txt: what browsers say of passkeys, one a line: NAME CLIENT-DATA AUTHENTICATOR-DATA SIGNATURE, each in
base64url ("-": none). Keys of tests, made anew at each run."""

import base64
import hashlib
import json
import pathlib
import struct

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HERE = pathlib.Path(__file__).parent
RP, ORIGIN, CHALLENGE = "adit.example.com", "https://adit.example.com:8443", b"a challenge of twenty-four"
PRESENT, VERIFIED, KEY = 1, 4, 64


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode() or "-"


def cbor(value):
    """As much as COSE keys need (RFC 8949)."""

    def head(major, n):
        if n < 24:
            return bytes([major << 5 | n])
        return bytes([major << 5 | 24, n]) if n < 256 else bytes([major << 5 | 25]) + struct.pack(">H", n)

    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    return head(5, len(value)) + b"".join(cbor(k) + cbor(v) for k, v in value.items())


def number(n, size):
    return n.to_bytes(size, "big")


class Es256:
    def __init__(self):
        self.private = ec.generate_private_key(ec.SECP256R1())

    def cose(self):
        n = self.private.public_key().public_numbers()
        return {1: 2, 3: -7, -1: 1, -2: number(n.x, 32), -3: number(n.y, 32)}

    def sign(self, data):
        return self.private.sign(data, ec.ECDSA(hashes.SHA256()))


class EdDsa:
    def __init__(self):
        self.private = ed25519.Ed25519PrivateKey.generate()

    def cose(self):
        raw = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {1: 1, 3: -8, -1: 6, -2: raw}

    def sign(self, data):
        return self.private.sign(data)


class Rs256:
    def __init__(self):
        self.private = rsa.generate_private_key(65537, 2048)

    def cose(self):
        n = self.private.public_key().public_numbers()
        return {1: 3, 3: -257, -1: number(n.n, 256), -2: number(n.e, 3)}

    def sign(self, data):
        return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())


def client_data(kind, **more):
    said = {"type": f"webauthn.{kind}", "challenge": b64(CHALLENGE), "origin": ORIGIN, "crossOrigin": False, **more}
    return json.dumps(said).encode()


def auth_data(flags, counter=0, rp=RP, more=b""):
    return hashlib.sha256(rp.encode()).digest() + bytes([flags]) + struct.pack(">I", counter) + more


def new_key(key, name=b"an id of a key", cose=None):
    return bytes(16) + struct.pack(">H", len(name)) + name + cbor(cose or key.cose())


lines = []


def add(name, client, auth, signature=b""):
    lines.append(f"{name} {b64(client)} {b64(auth)} {b64(signature)}")


ALL = PRESENT | VERIFIED | KEY
keys = {"es256": Es256(), "eddsa": EdDsa(), "rs256": Rs256()}
for name, key in keys.items():
    add(f"create-{name}", client_data("create"), auth_data(ALL, 7, more=new_key(key)))
    client, auth = client_data("get"), auth_data(PRESENT | VERIFIED, 8)
    add(f"get-{name}", client, auth, key.sign(auth + hashlib.sha256(client).digest()))

es256 = keys["es256"]
create, get = client_data("create"), client_data("get")
whole = auth_data(ALL, 7, more=new_key(es256))
for name, client, auth in (
    ("another-type", get, whole),
    ("another-challenge", client_data("create", challenge=b64(b"x" * 24)), whole),
    ("another-origin", client_data("create", origin="https://adit.example.com"), whole),
    ("in-a-frame", client_data("create", crossOrigin=True), whole),
    ("no-json", b"{", whole),
    ("another-site", create, auth_data(ALL, 7, "evil.test", new_key(es256))),
    ("not-present", create, auth_data(ALL & ~PRESENT, 7, more=new_key(es256))),
    ("not-verified", create, auth_data(ALL & ~VERIFIED, 7, more=new_key(es256))),
    ("no-key", create, auth_data(ALL & ~KEY, 7, more=new_key(es256))),
    ("short", create, whole[:36]),
    ("cut", create, whole[:-1]),
    ("longer", create, whole + b"x"),
    ("another-curve", create, auth_data(ALL, 7, more=new_key(es256, cose={**es256.cose(), 3: -35, -1: 2}))),
    ("huge", create, auth_data(ALL, 7, more=new_key(es256, name=b"x" * 5000))),
):
    add(f"create-{name}", client, auth)


def used(name, client=get, auth=auth_data(PRESENT | VERIFIED, 9), key=es256, change=lambda s: s):
    add(f"get-{name}", client, auth, change(key.sign(auth + hashlib.sha256(client).digest())))


used("another-type", client=create)
used("another-origin", client=client_data("get", origin="https://evil.test"))
used("another-challenge", client=client_data("get", challenge=b64(b"x" * 24)))
used("another-site", auth=auth_data(PRESENT | VERIFIED, 9, "evil.test"))
used("not-verified", auth=auth_data(PRESENT, 9))
used("not-present", auth=auth_data(VERIFIED, 9))
used("another-key", key=Es256())
used("changed", change=lambda s: s[:-1] + bytes([s[-1] ^ 1]))
used("no-signature", change=lambda s: b"")
used("not-counted", auth=auth_data(PRESENT | VERIFIED, 0))
(HERE / "statements.txt").write_text("\n".join(lines) + "\n")

corpus = HERE.parents[1] / "fuzz/corpus/webauthn"
for name in ("create-es256", "create-rs256", "create-longer", "get-es256"):
    _, client, auth, _ = next(line for line in lines if line.startswith(name + " ")).split()
    raw = [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in (client, auth)]
    (corpus / name).write_bytes(struct.pack(">H", len(raw[0])) + raw[0] + raw[1])
