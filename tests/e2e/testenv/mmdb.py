"""Writes databases of countries in MaxMind's format, which no package of Debian 12 does.

https://maxmind.github.io/MaxMind-DB/: a binary tree over the bits of addresses, 16 zero bytes, records, and what the
file says of itself. `mmdblookup` reads what comes out (tests/e2e/test_58_access_countries.py).
"""

import ipaddress

MARKER = b"\xab\xcd\xefMaxMind.com"
BUILT = 1_700_000_000  # 2023-11-14


def sized(kind, size):
    """A control byte, and what follows it when the type or the size is a large one."""
    assert size < 29 + 256
    first = (kind if kind < 8 else 0) << 5 | min(size, 29)
    return bytes([first]) + (bytes([kind - 7]) if kind > 7 else b"") + (bytes([size - 29]) if size >= 29 else b"")


def number(kind, n):
    raw = n.to_bytes((n.bit_length() + 7) // 8, "big")
    return sized(kind, len(raw)) + raw


def encode(value):
    if isinstance(value, str):
        return sized(2, len(value.encode())) + value.encode()
    if isinstance(value, dict):
        return sized(7, len(value)) + b"".join(encode(k) + encode(v) for k, v in value.items())
    if isinstance(value, list):
        return sized(11, len(value)) + b"".join(encode(v) for v in value)
    return number(6, value)


def record(country):
    """As GeoLite2-Country has it."""
    return {"country": {"iso_code": country, "names": {"en": f"Land of {country}"}}}


def build(networks, kind="Test-Country", version=6, bits=28):
    """`networks`: {"127.0.0.0/8": "PT" or a record}; `bits` of a record of the tree: 24, 28, 32."""
    nodes, data, places = [[None, None]], b"", {}
    for text, value in networks.items():
        net = ipaddress.ip_network(text)
        value = record(value) if isinstance(value, str) else value
        if str(value) not in places:
            places[str(value)] = len(data)
            data += encode(value)
        wide = 128 if version == 6 else 32
        prefix = net.prefixlen + (96 if net.version == 4 and version == 6 else 0)
        address, at = int(net.network_address), 0
        for depth in range(prefix):
            side = address >> (wide - 1 - depth) & 1
            if depth + 1 == prefix:
                nodes[at][side] = ("data", places[str(value)])
            else:
                if nodes[at][side] is None:
                    nodes[at][side] = len(nodes)
                    nodes.append([None, None])
                at = nodes[at][side]
    count = len(nodes)

    def pointer(entry):
        return count if entry is None else count + 16 + entry[1] if isinstance(entry, tuple) else entry

    tree = b""
    for pair in nodes:
        left, right = (pointer(entry) for entry in pair)
        if bits == 28:
            tree += (left & 0xFFFFFF).to_bytes(3, "big") + bytes([left >> 24 << 4 | right >> 24])
            tree += (right & 0xFFFFFF).to_bytes(3, "big")
        else:
            tree += left.to_bytes(bits // 8, "big") + right.to_bytes(bits // 8, "big")
    about = {"node_count": count, "languages": ["en"], "database_type": kind, "description": {"en": "of tests"}}
    said = sized(7, len(about) + 5) + b"".join(encode(k) + encode(v) for k, v in about.items())
    for key, value in (("binary_format_major_version", 2), ("binary_format_minor_version", 0), ("ip_version", version),
                       ("record_size", bits)):  # fmt: skip
        said += encode(key) + number(5, value)
    said += encode("build_epoch") + number(9, BUILT)
    return tree + bytes(16) + data + MARKER + said


def write(path, networks, **kwargs):
    path.write_bytes(build(networks, **kwargs))
    return path
