"""QUIC packets by hand, as much as hostile datagrams need, and filters on shared UDP sockets."""

import ctypes
import os
import socket
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

SALT_V1 = bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a")


def _hmac(key, data):
    h = HMAC(key, SHA256())
    h.update(data)
    return h.finalize()


def _expand(secret, label, size):
    label = b"tls13 " + label
    info = struct.pack(">HB", size, len(label)) + label + b"\0"
    return _hmac(secret, info + b"\1")[:size]


def initial(dcid, scid, frames, token=b"", number=0, size=1200):
    """A client's first packet, properly protected (RFC 9001 §5). `frames` are padded to `size`."""
    secret = _expand(_hmac(SALT_V1, dcid), b"client in", 32)
    key, iv, hp = _expand(secret, b"quic key", 16), _expand(secret, b"quic iv", 12), _expand(secret, b"quic hp", 16)
    head = b"\xc3\0\0\0\1" + bytes([len(dcid)]) + dcid + bytes([len(scid)]) + scid + bytes([len(token)]) + token
    rest = size - len(head) - 2 - 4 - 16
    payload = frames + bytes(rest - len(frames))
    head += struct.pack(">H", 0x4000 | (4 + len(payload) + 16)) + struct.pack(">I", number)
    nonce = bytes(a ^ b for a, b in zip(iv, number.to_bytes(12, "big")))
    sealed = AESGCM(key).encrypt(nonce, payload, head)
    mask = Cipher(algorithms.AES(hp), modes.ECB()).encryptor().update(sealed[:16])
    head = bytearray(head)
    head[0] ^= mask[0] & 0x0F
    for i in range(4):
        head[-4 + i] ^= mask[1 + i]
    return bytes(head) + sealed


def crypto_frame(data, offset=0):
    return b"\x06" + struct.pack(">H", 0x4000 | offset) + struct.pack(">H", 0x4000 | len(data)) + data


def is_retry(packet):
    return len(packet) > 5 and packet[0] & 0xF0 == 0xF0 and packet[1:5] == b"\0\0\0\1"


SO_ATTACH_REUSEPORT_CBPF = 51


def join_port(port, address="127.0.0.1"):
    """One more socket that shares a UDP port of a program of the same user."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind((address, port))
    return s


def all_packets_to(sock, index):
    """The kernel gives every packet of the port to the socket that was bound as number `index`."""
    program = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, index))  # BPF_RET | BPF_K
    fprog = struct.pack("@HP", 1, ctypes.addressof(program))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, fprog)


def garbage(seed_ids=()):
    """Datagrams of every kind that is none."""
    yield b"\0"
    yield os.urandom(1)
    for size in (1, 5, 6, 7, 20, 21, 22, 100, 1199, 1200, 1201, 1472, 9000):
        yield os.urandom(size)
        for first in (0x00, 0x40, 0x7F, 0x80, 0xC0, 0xD0, 0xE0, 0xF0, 0xFF):
            yield bytes([first]) + os.urandom(size - 1)
            # With a version we speak, and one that nobody does.
            for version in (b"\0\0\0\1", b"\x6b\x33\x43\xcf", b"\0\0\0\0", b"\x1a\x2a\x3a\x4a"):
                for length in (0, 8, 10, 20, 21, 255):
                    packet = bytes([first]) + version + bytes([length]) + os.urandom(size)
                    yield packet[:size] or b"\1"
    for id_ in seed_ids:
        for size in (12, 40, 1200):
            yield b"\x40" + id_ + os.urandom(size)
