"""The five-minute page, to the letter, on a fresh Debian 12 with the packages."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from docs import pages as docs  # noqa: E402
from docs.sandbox import Sandbox  # noqa: E402
from test_91_debian import debian, packages  # noqa: E402, F401
from testenv.program import PRESET  # noqa: E402

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(PRESET != "release", reason="packages are made from the release build"),
]


def test_the_first_page_can_be_followed_where_only_the_packages_are(debian):  # noqa: F811
    debian.check("apt-get install -qq -y --no-install-recommends /mnt/packages/adit_*.deb /mnt/packages/adit-edge_*.deb", 200)
    shell = ["nsenter", "-t", debian.leader, "-a", "-r", "-w"]
    sandbox = Sandbox(f"/proc/{debian.leader}/root/root/reader", "/usr/bin", 60, shell, "/root/reader")
    try:
        for block in docs.blocks("docs/first-tunnel.md", docs.pages()["docs/first-tunnel.md"]):
            sandbox.follow(block)
    finally:
        sandbox.close()
