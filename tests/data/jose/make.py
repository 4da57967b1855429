#!/usr/bin/python3
"""Makes keys.json and tokens.txt ("name token" a line) anew, with new keys that are thrown away.

The tokens are of 2026-01-01T00:00:00Z, by https://team.example.com, for "app"; each line but the good ones has
one fault. Needs python3-jwt and python3-cryptography.
"""

import base64
import hashlib
import hmac
import json
import pathlib

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

HERE = pathlib.Path(__file__).parent
NOW = 1767225600
ISSUER = "https://team.example.com"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(n, size=None):
    return b64(n.to_bytes(size or (n.bit_length() + 7) // 8, "big"))


def rsa_jwk(key, kid, **more):
    n = key.public_key().public_numbers()
    return {"kty": "RSA", "kid": kid, "n": number(n.n), "e": number(n.e), **more}


def ec_jwk(key, kid, **more):
    n = key.public_key().public_numbers()
    return {"kty": "EC", "crv": "P-256", "kid": kid, "x": number(n.x, 32), "y": number(n.y, 32), **more}


first = rsa.generate_private_key(65537, 2048)
second = rsa.generate_private_key(65537, 3072)
curve = ec.generate_private_key(ec.SECP256R1())
stranger = rsa.generate_private_key(65537, 2048)
small = rsa.generate_private_key(65537, 1024)

keys = {
    "keys": [
        rsa_jwk(first, "first", alg="RS256", use="sig", e="AQAB"),
        rsa_jwk(second, "second"),
        ec_jwk(curve, "curve", alg="ES256"),
        rsa_jwk(first, "another", alg="PS256"),
        # None of these is of use.
        rsa_jwk(first, "encryption", use="enc"),
        rsa_jwk(small, "small"),
        {"kty": "oct", "kid": "secret", "k": "c2VjcmV0"},
        {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": "AAAA"},
        {**ec_jwk(curve, "off-curve"), "y": number(1, 32)},
        {k: v for k, v in rsa_jwk(first, "x").items() if k != "kid"},
    ],
    "public_cert": {"kid": "first", "cert": "-----BEGIN CERTIFICATE-----"},
}
(HERE / "keys.json").write_text(json.dumps(keys, indent=1) + "\n")

CLAIMS = {
    "iss": ISSUER,
    "aud": ["other", "app"],
    "sub": "7335d417",
    "email": "ann@example.com",
    "iat": NOW,
    "nbf": NOW,
    "exp": NOW + 3600,
    "type": "app",
}


def sign(claims=None, key=first, kid="first", alg="RS256", headers=None, drop=()):
    payload = {k: v for k, v in {**CLAIMS, **(claims or {})}.items() if k not in drop}
    return jwt.encode(payload, key, algorithm=alg, headers={"kid": kid, **(headers or {})})


def by_hand(header, payload, signature=b""):
    return f"{b64(json.dumps(header).encode())}.{b64(payload)}.{b64(signature)}"


def hmac_of(header, payload, key):
    text = f"{b64(json.dumps(header).encode())}.{b64(payload)}"
    return f"{text}.{b64(hmac.digest(key, text.encode(), hashlib.sha256))}"


plain = json.dumps(CLAIMS).encode()
pem = first.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
good = sign()
head, body, signature = good.split(".")
other_body = b64(json.dumps({**CLAIMS, "sub": "root"}).encode())
tokens = {
    "good": good,
    "good-second": sign(key=second, kid="second"),
    "good-ec": sign(key=curve, kid="curve", alg="ES256"),
    "good-ps256": sign(kid="another", alg="PS256"),
    "good-one-audience": sign({"aud": "app"}),
    "good-without-nbf-iat": sign(drop=("nbf", "iat", "email", "sub")),
    "good-float-dates": sign({"exp": NOW + 3600.5}),
    "tampered": f"{head}.{other_body}.{signature}",
    "no-signature": f"{head}.{body}.",
    "two-parts": f"{head}.{body}",
    "five-parts": f"{head}.{body}.{signature}.{head}.{head}",
    "stranger": sign(key=stranger),
    "wrong-key": sign(kid="second"),
    "wrong-kind-of-key": sign(kid="curve"),
    "unknown-key": sign(kid="third"),
    "encryption-key": sign(kid="encryption"),
    "no-kid": jwt.encode(CLAIMS, first, algorithm="RS256"),
    "none": by_hand({"alg": "none", "kid": "first"}, plain),
    "none-with-signature": by_hand({"alg": "none", "kid": "first"}, plain, b"x" * 256),
    "no-algorithm": by_hand({"kid": "first"}, plain, b"x" * 256),
    "hmac-with-public-key": hmac_of({"alg": "HS256", "kid": "first"}, plain, pem),
    "rs512": sign(alg="RS512"),
    "ps256": sign(alg="PS256"),
    "rs256-of-a-ps256-key": sign(kid="another"),
    "critical": sign(headers={"crit": ["exp"]}),
    "other-issuer": sign({"iss": "https://evil.example.com"}),
    "issuer-with-slash": sign({"iss": ISSUER + "/"}),
    "no-issuer": sign(drop=("iss",)),
    "other-audience": sign({"aud": ["other"]}),
    "no-audience": sign(drop=("aud",)),
    "odd-audience": sign({"aud": {"app": "app"}}),
    "expired": sign({"exp": NOW - 61}),
    "just-expired": sign({"exp": NOW - 59}),
    "never-expires": sign(drop=("exp",)),
    "text-expiry": by_hand({"alg": "RS256", "kid": "first"}, b"{}"),
    "not-yet": sign({"nbf": NOW + 61}),
    "almost": sign({"nbf": NOW + 59, "iat": NOW + 59}),
    "from-the-future": sign({"iat": NOW + 61}),
    "huge-date": sign({"exp": 1e300}),
}


def signed_payload(payload):
    """PyJWT wants a map; this signs anything."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    text = f"{b64(json.dumps({'alg': 'RS256', 'kid': 'first'}).encode())}.{b64(payload)}"
    return f"{text}.{b64(first.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


tokens["text-expiry"] = signed_payload(json.dumps({**CLAIMS, "exp": "tomorrow"}).encode())
tokens["no-object"] = signed_payload(b"[1]")
tokens["no-json"] = signed_payload(b"hello")
tokens["twice"] = signed_payload(plain[:-1] + b', "aud": "app"}')
(HERE / "tokens.txt").write_text("".join(f"{k} {v}\n" for k, v in tokens.items()))
