"""Visitors over HTTP/3: Debian's libcurl with GnuTLS from bookworm-backports (./dev unpacks it under build/h3-curl, beside
the system's, which has no HTTP/3), called through ctypes."""

import ctypes
import os
import pathlib

from .program import PATIENCE
from .visitor import Response, parse_heads

ROOT = pathlib.Path(__file__).resolve().parents[3]
LIBRARY = pathlib.Path(
    os.environ.get("ADIT_H3_CURL") or ROOT / "build/h3-curl/usr/lib/x86_64-linux-gnu/libcurl-gnutls.so.4"
)

# curl.h
LONG, OBJECT, FUNCTION, OFF = 0, 10000, 20000, 30000
URL, CAINFO, RESOLVE, HEADERS, METHOD, FIELDS = OBJECT + 2, OBJECT + 65, OBJECT + 203, OBJECT + 23, OBJECT + 36, OBJECT + 15
WRITE, HEADER, ERRORS = FUNCTION + 11, FUNCTION + 79, OBJECT + 10
NOBODY, TIMEOUT_MS, HTTP_VERSION, FIELD_SIZE, PATH_AS_IS = LONG + 44, LONG + 155, LONG + 84, OFF + 120, LONG + 234
ALTSVC, ALTSVC_CTRL = OBJECT + 287, LONG + 286
VERSION_USED = 0x200000 + 46
H3_ONLY, H3 = 31, 30
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.POINTER(ctypes.c_char), ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p)


def why_not():
    return None if LIBRARY.exists() else f"no {LIBRARY}: ./dev test unpacks it"


class H3Visitor:
    """One connection at a time; requests of one visitor share it."""

    def __init__(self, edge, alt_svc=None):
        self.edge, self.alt_svc = edge, alt_svc
        self.lib = ctypes.CDLL(str(LIBRARY))
        for name in ("curl_easy_init", "curl_slist_append"):
            getattr(self.lib, name).restype = ctypes.c_void_p
        self.lib.curl_easy_cleanup.restype = None
        self.lib.curl_easy_reset.restype = None
        self.easy = ctypes.c_void_p(self.lib.curl_easy_init())

    def set(self, option, value):
        if isinstance(value, int):
            value = ctypes.c_long(value)
        code = self.lib.curl_easy_setopt(self.easy, ctypes.c_int(option), value)
        assert code == 0, (option, code)

    def texts(self, lines):
        made = None
        for line in lines:
            made = ctypes.c_void_p(self.lib.curl_slist_append(made, line.encode("latin-1")))
        self.lists.append(made)
        return made

    def fetch(self, host, path, headers=(), data=None, method=None, seconds=25, take=None):
        """`take(block)`: gets the body instead of Response.body; False breaks off."""
        body, heads = bytearray(), bytearray()
        error = ctypes.create_string_buffer(256)
        self.lists = []

        def on_body(ptr, size, count, _):
            block = ctypes.string_at(ptr, size * count)
            if take:
                return len(block) if take(block) is not False else 0
            body.extend(block)
            return len(block)

        def on_head(ptr, size, count, _):
            heads.extend(ctypes.string_at(ptr, size * count))
            return size * count

        keep = CALLBACK(on_body), CALLBACK(on_head)
        self.lib.curl_easy_reset(self.easy)
        self.set(URL, f"https://{host}:{self.edge.https}{path}".encode())
        self.set(CAINFO, str(self.edge.ca).encode())
        self.set(RESOLVE, self.texts([f"{host}:{self.edge.https}:127.0.0.1"]))
        self.set(HTTP_VERSION, 4 if self.alt_svc else H3_ONLY)
        if self.alt_svc:
            self.set(ALTSVC_CTRL, 32 | 16 | 8)
            self.set(ALTSVC, str(self.alt_svc).encode())
        self.set(PATH_AS_IS, 1)
        self.set(TIMEOUT_MS, int(seconds * 1000 * PATIENCE))
        self.set(ERRORS, error)
        self.set(WRITE, keep[0])
        self.set(HEADER, keep[1])
        if headers:
            self.set(HEADERS, self.texts(f"{n}: {v}" if v != "" else f"{n};" for n, v in headers))
        if data is not None:
            self.set(FIELD_SIZE, len(data))
            self.set(FIELDS, ctypes.c_char_p(data))
        if method == "HEAD":
            self.set(NOBODY, 1)
        elif method:
            self.set(METHOD, method.encode())
        code = self.lib.curl_easy_perform(self.easy)
        for made in self.lists:
            self.lib.curl_slist_free_all(made)
        self.heads = heads.decode("latin-1")  # of the last response, interim ones among them
        version, status, fields, trailers = parse_heads(self.heads)
        return Response(status, fields, bytes(body), version, code, error.value.decode(), trailers)

    def get(self, host, path, **kwargs):
        response = self.fetch(host, path, **kwargs)
        assert response.curl_exit == 0, f"curl {response.curl_exit}: {response.error}"
        return response

    def close(self):
        self.lib.curl_easy_cleanup(self.easy)
