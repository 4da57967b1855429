#!/usr/bin/python3
"""Makes the databases of countries in this folder: tests/data/countries/make.py"""

import pathlib
import sys

here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(here.parents[1] / "e2e"))

from testenv import mmdb  # noqa: E402

NETWORKS = {
    "127.0.0.0/8": "PT",
    "192.0.2.0/24": "DE",
    "203.0.113.0/25": "es",
    "198.51.100.0/24": {"registered_country": {"iso_code": "FR"}},
    "198.51.101.0/24": {"country": {"iso_code": "FRA"}},
    "198.51.102.0/24": {"country": {"iso_code": "F1"}},
    "198.51.103.0/24": {"country": {"iso_code": 33}},
    "2001:db8::/32": "JP",
}
mmdb.write(here / "country.mmdb", NETWORKS)
mmdb.write(here / "narrow.mmdb", NETWORKS, bits=24)
mmdb.write(here / "wide.mmdb", NETWORKS, bits=32)
v4 = {net: value for net, value in NETWORKS.items() if ":" not in net}
mmdb.write(here / "v4.mmdb", v4, version=4)
mmdb.write(here / "code.mmdb", {"192.0.2.0/24": {"country_code": "DE", "country": "Germany"}}, kind="ipinfo lite")
mmdb.write(here / "flat.mmdb", {"192.0.2.0/24": {"country": "DE"}}, kind="ipinfo country.mmdb")
mmdb.write(here / "owners.mmdb", {"192.0.2.0/24": {"autonomous_system_number": 64500}}, kind="Test-ASN")
mmdb.write(here / "empty.mmdb", {})
