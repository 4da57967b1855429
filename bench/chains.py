"""The chains that are compared, each started from nothing."""

import os

from lab import HOST, Chain, CannotMeasure, free_port

REGISTERED = "Registered tunnel connection"
CLOUDFLARED_HOST = "stock.example.com"
TUNNELS = {"ours": HOST, "stock": CLOUDFLARED_HOST}  # name: host


class Edge:
    """An adit-edge with two tunnels, `ours` for adit and `stock` for cloudflared, or with those of `tunnels`."""

    def __init__(self, lab, name="edge", tunnels=None):
        self.lab = lab
        self.tunnels = tunnels or TUNNELS
        self.data = lab.scratch / name
        self.home = lab.scratch / f"{name}-home"
        self.https, self.tunnel, self.metrics = free_port(), free_port(), free_port()
        for program in ("adit", "adit-edge"):
            if not os.access(lab.bin / program, os.X_OK):
                raise CannotMeasure(f"there is no {lab.bin / program}")
        # The settings go to DIR/edge.yml, where every command sees them; the control host,
        # adit.example.com, is in the hosts file that http.sh made.
        lab.run([lab.bin / "adit-edge", "init", "--data", self.data, "--zone", "example.com"])
        (self.data / "edge.yml").write_text(
            f'https: "127.0.0.1:{self.https}"\nhttp: "off"\ntunnel: "127.0.0.1:{self.tunnel}"\n'
            f'metrics: "127.0.0.1:{self.metrics}"\naccess-log: "off"\n'  # as the others
        )
        self.program = self.run(name)
        self.ca = self.data / "ca.pem"
        self._create_tunnels()

    def run(self, name):
        program = self.lab.start(name, [self.lab.bin / "adit-edge", "run", "--data", self.data])
        program.wait_listening(self.https)
        program.wait_listening(self.tunnel)
        return program

    def _adit(self, *args):
        return self.lab.run([self.lab.bin / "adit", *args], env={"HOME": str(self.home)})

    def _create_tunnels(self):
        (self.home / ".adit").mkdir(parents=True, mode=0o700)
        cert = self.lab.run(
            [self.lab.bin / "adit-edge", "cert", "--data", self.data, "--zone", "example.com"]
        )
        path = self.home / ".adit" / "cert.pem"
        path.write_text(cert)
        path.chmod(0o600)
        self.tokens = {}
        for tunnel, host in self.tunnels.items():
            self._adit("tunnel", "create", tunnel)
            self.route(tunnel, host)
            self.tokens[tunnel] = self._adit("tunnel", "token", tunnel).strip()
        self.ingress = self.lab.template("ingress.yml", "ingress.yml")

    def route(self, tunnel, host):
        self._adit("tunnel", "route", "dns", tunnel, host)

    def connector(self, stock=False, tunnel=None, protocol="http2"):
        """(argv, environment) of a connector, ours or cloudflared: both by token, told the same."""
        program, options = self.lab.bin / "adit", []
        if stock:
            program, options = self.lab.cloudflared, ["--no-autoupdate", "--no-prechecks"]
        argv = [program, "--config", self.ingress, "tunnel", *options, "--protocol", protocol, "run"]
        return argv, {
            "HOME": str(self.lab.scratch),
            "TUNNEL_TOKEN": self.tokens[tunnel or ("stock" if stock else "ours")],
            "TUNNEL_EDGE": ",".join([f"127.0.0.1:{self.tunnel}"] * 4),
            "TUNNEL_CACERT": str(self.ca),
            "TUNNEL_METRICS": "127.0.0.1:0",
            "TUNNEL_ACCESS_LOG": "off",
        }

    def start_connector(self, stock=False, tunnel=None, protocol="http2"):
        argv, env = self.connector(stock, tunnel, protocol)
        name = tunnel or ("cloudflared" if stock else "connector")
        program = self.lab.start(name, argv, env)
        program.wait_logged(REGISTERED, count=4)
        return program


def of_protocol(edge, stock, protocol):
    """One way through an edge that has a tunnel for each; see claim_tunnel.py."""
    tunnel = f"{'stock' if stock else 'ours'}-{protocol}"
    connector = edge.start_connector(stock, tunnel, protocol)
    name = f"{'cloudflared' if stock else 'adit'}, {'QUIC' if protocol == 'quic' else 'HTTP/2'}"
    return Chain(name, edge.https, {"edge": edge.program, "connector": connector}, edge.tunnels[tunnel], edge.ca)


def ours(lab, edge):
    connector = edge.start_connector()
    return Chain("adit", edge.https, {"edge": edge.program, "connector": connector}, HOST, edge.ca)


def cloudflared(lab, edge):
    connector = edge.start_connector(stock=True)
    parts = {"edge": edge.program, "connector": connector}
    return Chain("cloudflared", edge.https, parts, CLOUDFLARED_HOST, edge.ca)


def _nginx_hop(lab, name, listen, target, upload, scheme):
    config = lab.template("nginx-hop.conf", f"{name}.conf", NAME=name, LISTEN=listen, NEXT=target,
                          UPLOAD=upload, SCHEME=scheme)  # fmt: skip
    program = lab.nginx(name, config)
    program.wait_listening(listen)
    return program


def nginx_one(lab):
    port = free_port()
    hop = _nginx_hop(lab, "nginx-only", port, lab.origin_port, "sink", "http")
    return Chain("nginx, one hop", port, {"front": hop}, HOST, lab.scratch / "ca.pem")


def nginx_two(lab):
    port, inner = free_port(), free_port()
    back = _nginx_hop(lab, "nginx-back", inner, lab.origin_port, "sink", "http")
    front = _nginx_hop(lab, "nginx-front", port, inner, "next", "https")
    parts = {"front": front, "back": back}
    return Chain("nginx, two hops", port, parts, HOST, lab.scratch / "ca.pem")


def _haproxy_hop(lab, name, listen, target, upload, tls):
    config = lab.template("haproxy-hop.cfg", f"{name}.cfg", LISTEN=listen, NEXT=target,
                          UPLOAD=upload, TLS=tls)  # fmt: skip
    program = lab.start(name, [lab.haproxy, "-db", "-q", "-f", config])
    program.wait_listening(listen)
    return program


def haproxy_two(lab):
    port, inner = free_port(), free_port()
    tls = f"ssl verify required ca-file {lab.scratch}/ca.pem sni str({HOST}) verifyhost {HOST}"
    back = _haproxy_hop(lab, "haproxy-back", inner, lab.origin_port, lab.sink_port, "")
    front = _haproxy_hop(lab, "haproxy-front", port, inner, inner, tls)
    parts = {"front": front, "back": back}
    return Chain("HAProxy, two hops", port, parts, HOST, lab.scratch / "ca.pem")


def all_of(lab, results):
    """Every chain that can be started and answers; what should and does not is noted in `results`."""
    makers = [("nginx, two hops", lambda: nginx_two(lab)), ("nginx, one hop", lambda: nginx_one(lab))]
    if lab.haproxy:
        makers.append(("HAProxy, two hops", lambda: haproxy_two(lab)))
    try:
        edge = Edge(lab)
    except CannotMeasure as e:
        results.fail("adit", e)
    else:
        makers.insert(0, ("adit", lambda: ours(lab, edge)))
        if lab.cloudflared:
            makers.append(("cloudflared", lambda: cloudflared(lab, edge)))
    found = []
    for name, make in makers:
        try:
            chain = make()
            lab.check_chain(chain)
            found.append(chain)
        except CannotMeasure as e:
            results.fail(name, e)
    return found


def stop(lab, chains):
    """Ends the programs of these chains, each once."""
    seen = []
    for chain in chains:
        seen += [p for p in chain.parts.values() if p not in seen]
    lab.stop(*[p for p in lab.programs if p in seen])
