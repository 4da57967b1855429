"""nginx as an origin: files, ranges, validators, gzip."""

import pwd
import os
import shutil
import socket
from dataclasses import dataclass

from . import net
from .origin import pattern_file
from .program import Program
from .wait import wait_until

CONFIG = """
daemon off; master_process off; worker_processes 1; pid {dir}/nginx.pid; error_log stderr;
{user}
events {{ worker_connections 4096; }}
http {{
	access_log off;
	keepalive_requests 1000000;
	default_type text/plain;
	client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
	uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
	server {{
		listen 127.0.0.1:{port};
		root {dir}/www;
		location = /small {{ return 200 "small answer\\n"; }}
		location /gzip/ {{ alias {dir}/www/; gzip on; gzip_min_length 1; gzip_types *; gzip_proxied any; }}
	}}
	{servers}
}}
"""


@dataclass
class Nginx:
    program: Program
    port: int
    www: object


def start(folder, servers=""):
    """`servers`: further server blocks."""
    www = folder / "www"
    www.mkdir(parents=True)
    (www / "page.html").write_text("<h1>page</h1>\n" * 200)
    pattern_file(www / "medium", 300_000)
    port = net.free_port()
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(CONFIG.format(dir=folder, port=port, user=user, servers=servers))
    binary = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    program = Program("nginx", [binary, "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"], folder)

    def listening():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listening, "nginx")
    return Nginx(program, port, www)
