"""A passkey in software: it says what it is told to, right or wrong."""

import base64
import hashlib
import json
import os
import struct

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

PRESENT, VERIFIED, KEY = 1, 4, 64


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Authenticator:
    def __init__(self, rp, origin):
        self.rp, self.origin = rp, origin
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.id = os.urandom(20)
        self.counter = 0

    def _cose(self):
        """{1: 2, 3: -7, -1: 1, -2: x, -3: y} in CBOR."""
        n = self.private.public_key().public_numbers()
        x, y = (v.to_bytes(32, "big") for v in (n.x, n.y))
        return b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20" + x + b"\x22\x58\x20" + y

    def _client_data(self, kind, challenge):
        said = {"type": f"webauthn.{kind}", "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        return json.dumps(said).encode()

    def _auth_data(self, flags, more=b""):
        self.counter += 1
        return hashlib.sha256(self.rp.encode()).digest() + bytes([flags]) + struct.pack(">I", self.counter) + more

    def make(self, challenge, flags=PRESENT | VERIFIED | KEY):
        """The fields of a form."""
        key = bytes(16) + struct.pack(">H", len(self.id)) + self.id + self._cose()
        return {"challenge": challenge, "client_data": b64(self._client_data("create", challenge)),
                "auth_data": b64(self._auth_data(flags, key))}  # fmt: skip

    def use(self, challenge, flags=PRESENT | VERIFIED):
        client, auth = self._client_data("get", challenge), self._auth_data(flags)
        signature = self.private.sign(auth + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        return {"challenge": challenge, "credential": b64(self.id), "client_data": b64(client), "auth_data": b64(auth),
                "signature": b64(signature)}  # fmt: skip
