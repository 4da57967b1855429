"""Private keys of the edge: in a process of their own, and nowhere else."""

import base64
import contextlib
import ctypes
import json
import os
import pathlib
import re
import sqlite3
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from testenv import h3, net
from testenv.connector import write_config
from testenv.edge import ZONE, Edge
from testenv.origin import Origin
from testenv.program import ADIT_EDGE, PATIENCE, check
from testenv.wait import wait_until

BOXED_SETTINGS = ("access.keys", "access.ssh-ca", "acme.account", "ca.key", "dns.key.")
ACCOUNT = "acme.account https://acme.test/directory"
HOST = f"own.{ZONE}"
VALUE, KEY = 1, 2  # as store/seal.h: which key of the master key's has sealed it

sodium = ctypes.CDLL("libsodium.so.23")
assert sodium.sodium_init() >= 0


def derive(master, form):
    key = ctypes.create_string_buffer(32)
    sodium.crypto_kdf_derive_from_key(key, ctypes.c_size_t(32), ctypes.c_uint64(form), b"aditseal", master)
    return key.raw


def unseal(master, sealed, place):
    box, plain, length = sealed[25:], ctypes.create_string_buffer(len(sealed)), ctypes.c_ulonglong()
    assert 0 == sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
        plain, ctypes.byref(length), None, box, ctypes.c_ulonglong(len(box)), place, ctypes.c_ulonglong(len(place)),
        sealed[1:25], derive(master, sealed[0]))  # fmt: skip
    return plain.raw[: length.value]


def seal(master, form, plain, place):
    nonce, box, length = os.urandom(24), ctypes.create_string_buffer(len(plain) + 16), ctypes.c_ulonglong()
    sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(
        box, ctypes.byref(length), plain, ctypes.c_ulonglong(len(plain)), place, ctypes.c_ulonglong(len(place)), None,
        nonce, derive(master, form))  # fmt: skip
    return bytes([form]) + nonce + box.raw


def master_of(edge):
    return bytes.fromhex((edge.data / "master.key").read_text().strip())


def sealed_keys(edge):
    with contextlib.closing(sqlite3.connect(edge.data / "db/adit.db")) as db:
        return dict(db.execute("SELECT name, sealed_key FROM certificates").fetchall())


def put_sealed(edge, name, sealed):
    db = sqlite3.connect(edge.data / "db/adit.db")
    with db:
        db.execute("UPDATE certificates SET sealed_key = ? WHERE name = ?", (sealed, name))
    db.close()


def fingerprint(edge, name):
    """Of the certificate that is served; the handshake proves that its key signs."""
    out = check(["openssl", "s_client", "-connect", f"127.0.0.1:{edge.https}", "-servername", name, "-CAfile", edge.ca,
                 "-verify_return_error", "-showcerts"], input="")  # fmt: skip
    return re.search(r"-----BEGIN CERTIFICATE-----.*?-----END", out, re.DOTALL).group()


def children(pid):
    out = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = re.fullmatch(r"\d+ \((.*)\) (.*)", path.read_text(), re.DOTALL).groups()
        except OSError:
            continue
        if int(rest.split()[1]) == pid:
            out.append((int(path.parent.name), name))
    return out


def key_process(edge):
    (pid,) = [pid for pid, name in children(edge.program.pid) if name == "edge-keys"]
    return pid


def status(pid):
    return dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)


def find_in_memory(pid, needles):
    """Which of them are somewhere in the memory of a process."""
    found = set()
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            at, rights = line.split()[:2]
            start, end = (int(x, 16) for x in at.split("-"))
            if not rights.startswith("r") or "[v" in line or end - start > 1 << 32:
                continue
            tail = b""
            for offset in range(start, end, 1 << 22):
                try:
                    memory.seek(offset)
                    block = tail + memory.read(min(1 << 22, end - offset))
                except (OSError, ValueError):
                    break  # not there: a guard page, or what a sanitizer has only reserved
                found.update(name for name, bytes_ in needles.items() if bytes_ in block)
                tail = block[-4096:]
    return found


def traces(pem):
    """What a process that has the key must have: its secret number, as signing needs it (little-endian) or as it is
    stored (big-endian), or the text itself."""
    key = serialization.load_pem_private_key(pem, None)
    numbers = key.private_numbers()
    if isinstance(key, rsa.RSAPrivateKey):
        secrets = {"d": numbers.d, "p": numbers.p, "q": numbers.q}
    else:
        secrets = {"d": numbers.private_value}
    out = {"text": pem.split(b"\n")[2]}
    for name, number in secrets.items():
        size = (number.bit_length() + 7) // 8
        out[name + " big-endian"] = number.to_bytes(size, "big")
        out[name + " little-endian"] = number.to_bytes(size, "little")
    return out


@pytest.fixture
def edge(tmp_path):
    edge = Edge(tmp_path, settings=f'dns: "127.0.0.1:{net.free_port()}"\n').start()
    yield edge
    if edge.program.is_running():
        edge.stop()


def bring_rsa_key(edge, tmp_path):
    """A certificate of somebody's own."""
    bundle, key = tmp_path / "own.pem", tmp_path / "own.key"
    check(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "20", "-keyout", key, "-out", bundle,
           "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"])  # fmt: skip
    assert edge.command("tls", "import", bundle, "--key", key).returncode == 0
    return key.read_bytes()


def new_account():
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    return jwk(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))


def make_one_of_each(edge, tmp_path):
    """Everything that has a key, beside certificates."""
    document = tmp_path / "access.yml"
    document.write_text(f"policies:\n  - name: All\n    decision: allow\n    include: [{{everyone: {{}}}}]\n"
                        f"applications:\n  - {{name: Photos, domain: photos.{ZONE}, policies: [All]}}\n")  # fmt: skip
    done = edge.command("access", "apply", document)
    assert done.returncode == 0, done.stderr
    line = edge.command("access", "ssh-ca", "Photos")
    assert line.stdout.startswith("ecdsa-sha2-nistp256 "), line.stderr


def read_settings(edge):
    """Those that are sealed."""
    with contextlib.closing(sqlite3.connect(edge.data / "db/adit.db")) as db:
        rows = db.execute("SELECT name, sealed FROM settings WHERE sealed IS NOT NULL").fetchall()
    return {name: unseal(master_of(edge), sealed, f"setting {name}".encode()).decode() for name, sealed in rows}


def put_setting(edge, name, text):
    sealed = seal(master_of(edge), VALUE, text.encode(), f"setting {name}".encode())
    with contextlib.closing(sqlite3.connect(edge.data / "db/adit.db")) as db, db:
        db.execute("INSERT OR REPLACE INTO settings (name, sealed) VALUES (?, ?)", (name, sealed))


def jwk(pem):
    key = serialization.load_pem_private_key(pem, None)
    numbers = key.private_numbers()
    public = numbers.public_numbers

    def number(value, size=0):
        raw = value.to_bytes(size or (value.bit_length() + 7) // 8, "big")
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    if isinstance(key, rsa.RSAPrivateKey):
        return json.dumps({"kty": "RSA", "n": number(public.n), "e": number(public.e), "d": number(numbers.d),
                           "p": number(numbers.p), "q": number(numbers.q), "dp": number(numbers.dmp1),
                           "dq": number(numbers.dmq1), "qi": number(numbers.iqmp)})  # fmt: skip
    return json.dumps({"kty": "EC", "crv": "P-256", "x": number(public.x, 32), "y": number(public.y, 32),
                       "d": number(numbers.private_value, 32)})  # fmt: skip


def as_before(name, pem):
    """How a key was kept when the edge had it."""
    if name.startswith("dns."):
        number = serialization.load_pem_private_key(pem, None).private_numbers().private_value
        return ("Private-key-format: v1.2\nAlgorithm: 13 (ECDSAP256SHA256)\n"
                f"PrivateKey: {base64.b64encode(number.to_bytes(32, 'big')).decode()}\n")  # fmt: skip
    return jwk(pem) if name.startswith(("access.keys", "acme.")) else pem.decode()


def put_keys_of_before(edge):
    """Of settings."""
    master = master_of(edge)
    for name, text in read_settings(edge).items():
        for boxed, place, box in re.findall(r"(boxed (\S+) \S+ ([A-Za-z0-9+/=]+))", text):
            old = as_before(name, unseal(master, base64.b64decode(box), base64.b64decode(place)))
            text = text.replace(boxed, json.dumps(old)[1:-1] if text.startswith("{") else old)
        put_setting(edge, name, text)


def public_halves(edge):
    return {name: re.findall(r"boxed \S+ (\S+)", text) for name, text in read_settings(edge).items() if "boxed" in text}


def other_keys(edge):
    """Settings that hold keys: place of each, and what the key process has sealed."""
    found = {}
    for name, text in read_settings(edge).items():
        if name.startswith(BOXED_SETTINGS):
            assert "PRIVATE" not in text and '"d' not in text.replace("\\", ""), name
            assert "boxed " in text, name
        for place, _, box in re.findall(r"boxed (\S+) (\S+) ([A-Za-z0-9+/=]+)", text):
            found.setdefault(name, []).append((base64.b64decode(place), base64.b64decode(box)))
    return found


def test_no_private_key_is_in_the_memory_of_the_edge(edge, tmp_path):
    own = bring_rsa_key(edge, tmp_path)
    make_one_of_each(edge, tmp_path)
    edge.stop()
    put_setting(edge, ACCOUNT, new_account())
    for _ in range(2):  # the first start moves the account's
        edge.start()
        edge.stop()
    edge.start()
    master, sealed = master_of(edge), sealed_keys(edge)
    others = other_keys(edge)
    assert {kind for kind in BOXED_SETTINGS if any(name.startswith(kind) for name in others)} == set(BOXED_SETTINGS)
    assert {s[0] for s in sealed.values()} == {KEY}
    needles = {("master", "bytes"): master, ("master", "text"): master.hex().encode()}
    needles["keys", "what opens them"] = derive(master, KEY)
    for name, value in sealed.items():
        pem = unseal(master, value, f"certificate {name}".encode())
        needles.update({(name, kind): trace for kind, trace in traces(pem).items()})
    for name, keys in others.items():
        for i, (place, box) in enumerate(keys):
            needles.update({(name, i, kind): trace for kind, trace in traces(unseal(master, box, place)).items()})
    needles.update({("as it was brought", kind): trace for kind, trace in traces(own).items()})
    for version in ("-tls1_2", "-tls1_3"):
        for name in ("www." + ZONE, HOST, "127.0.0.1"):
            check(["openssl", "s_client", "-connect", f"127.0.0.1:{edge.https}", "-servername", name, version], input="")
    assert find_in_memory(edge.program.pid, needles) == set()
    if os.geteuid() == 0:
        # The same search finds them where they are.
        found = find_in_memory(key_process(edge), needles)
        assert ("keys", "what opens them") in found and (f"domain {ZONE}", "d little-endian") in found


def signatures(edge):
    seen = edge.metrics()
    return sum(seen[f'adit_edge_key_process_calls_total{{kind="{kind}"}}'] for kind in ("sign", "sign_hash"))


@pytest.mark.skipif(bool(h3.why_not()), reason=str(h3.why_not()))
def test_quic_is_served_with_keys_of_the_key_process(own):
    """Tunnels and visitors alike: whoever comes over QUIC gets a signature of the key process, and each one gets one."""
    edge, origin = own.edge(), Origin()
    cli = own.cli(edge)
    tunnel = cli.create("quic")
    cli.route(tunnel, f"app.{ZONE}")
    assert {s[0] for s in sealed_keys(edge).values()} == {KEY}
    config = write_config(cli.dot / "config.yml", tunnel, [{"hostname": f"app.{ZONE}", "service": origin.service}])
    before = signatures(edge)
    connector = cli.connect(tunnel, config, protocol="quic")
    connections = len(re.findall("protocol=quic", connector.text()))
    assert connections == 4 and signatures(edge) >= before + connections
    path = origin.on(lambda r: r.reply(200, body=b"over QUIC"))
    for _ in range(3):
        before, visitor = signatures(edge), h3.H3Visitor(edge)
        response = visitor.get(f"app.{ZONE}", path)
        assert (response.version, response.status, response.body) == ("HTTP/3", 200, b"over QUIC")
        assert signatures(edge) == before + 1
        visitor.close()
    assert edge.metrics()["adit_edge_key_process_failures_total"] == 0
    connector.stop()
    origin.close()


def test_the_key_process_is_shut_in(edge):
    pid = key_process(edge)
    assert status(pid)["NoNewPrivs"] == "1"
    limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
    assert re.search(r"Max open files +0 +0", limits) and re.search(r"Max file size +0 +0", limits)
    # Not dumpable: its files in /proc are root's, so that its own user cannot look into it.
    assert os.stat(f"/proc/{pid}/mem").st_uid == 0
    if os.geteuid() == 0:
        kinds = {os.readlink(link).split(":")[0] for link in pathlib.Path(f"/proc/{pid}/fd").iterdir() if int(link.name) > 2}
        assert kinds == {"socket"}
        assert pathlib.Path(f"/proc/{pid}/fd/0").exists() is False


def test_the_edge_ends_with_its_key_process(edge):
    assert fingerprint(edge, "www." + ZONE)
    os.kill(key_process(edge), 9)
    wait_until(lambda: not edge.program.is_running(), "edge that has ended", 20 * PATIENCE)
    assert edge.program.wait() == 1
    assert "the key process has ended" in edge.program.text()
    edge.start()
    assert fingerprint(edge, "www." + ZONE)


def test_the_key_process_ends_with_its_edge(edge):
    pid = key_process(edge)
    edge.kill()
    wait_until(lambda: not pathlib.Path(f"/proc/{pid}").exists() or status(pid)["State"].startswith("Z"),
               "key process that has ended", 20 * PATIENCE)  # fmt: skip
    edge.start()
    pid = key_process(edge)
    edge.stop()
    assert not pathlib.Path(f"/proc/{pid}").exists()


def test_keys_of_before_move_and_serve_on(edge, tmp_path):
    make_one_of_each(edge, tmp_path)
    before, halves = fingerprint(edge, "www." + ZONE), public_halves(edge)
    assert len(halves) == len(BOXED_SETTINGS) - 1  # no account
    edge.stop()
    master = master_of(edge)
    for name, sealed in sealed_keys(edge).items():
        place = f"certificate {name}".encode()
        put_sealed(edge, name, seal(master, VALUE, unseal(master, sealed, place), place))
    put_keys_of_before(edge)
    assert public_halves(edge) == {}
    # Where the database was before.
    old, new = edge.data / "adit.db", edge.data / "db/adit.db"
    for file in list(new.parent.iterdir()):
        file.rename(edge.data / file.name)
    new.parent.rmdir()
    assert ZONE in check([ADIT_EDGE, "zone", "list", "--data", edge.data]) and old.exists()
    edge.start()
    assert new.exists() and not old.exists()
    edge.program.wait_log("private keys are the key process.s from now on")
    assert {s[0] for s in sealed_keys(edge).values()} == {KEY}
    assert public_halves(edge) == halves
    assert fingerprint(edge, "www." + ZONE) == before


def test_a_backup_has_the_keys(edge, tmp_path):
    before = fingerprint(edge, "www." + ZONE)
    backup = tmp_path / "backup"
    assert edge.command("backup", backup).returncode == 0
    assert backup.stat().st_mode & 0o777 == 0o600
    edge.stop()
    settings = (edge.data / "edge.yml").read_text()
    edge.data.rename(tmp_path / "lost")
    assert edge.command("restore", backup).returncode == 0
    (edge.data / "edge.yml").write_text(settings)
    edge.start()
    assert fingerprint(edge, "www." + ZONE) == before


def test_an_edge_that_takes_over_has_a_key_process_of_its_own(edge):
    first = key_process(edge)
    old = edge.program.pid
    os.kill(old, 12)  # SIGUSR2
    wait_until(lambda: f"a successor has taken over" in edge.program.text(), "takeover", 30 * PATIENCE)
    wait_until(lambda: not pathlib.Path(f"/proc/{old}").exists() or status(old)["State"].startswith("Z"), "first edge to end",
               30 * PATIENCE)  # fmt: skip
    assert fingerprint(edge, "www." + ZONE)
    assert not pathlib.Path(f"/proc/{first}").exists() or status(first)["State"].startswith("Z")
    successor = int(re.findall(r"pid[\"=:]+(\d+)", [x for x in edge.program.text().splitlines() if "has taken over" in x][0])[0])
    assert [name for _, name in children(successor)].count("edge-keys") == 1
    subprocess.run(["kill", str(successor)], check=True)
    wait_until(lambda: not pathlib.Path(f"/proc/{successor}").exists(), "second edge to end", 30 * PATIENCE)
