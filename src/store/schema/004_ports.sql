-- Public ports of the edge: what arrives there goes to a service behind a tunnel. A port has one owner.

CREATE TABLE port_routes (
	id TEXT PRIMARY KEY,
	account TEXT NOT NULL REFERENCES accounts (id),
	protocol TEXT NOT NULL,       -- "tcp" or "udp"
	port BIGINT NOT NULL,
	tunnel TEXT NOT NULL REFERENCES tunnels (id),
	service TEXT NOT NULL,        -- "ssh.example.com", or "10.0.0.5:22"
	proxy_protocol TEXT NOT NULL, -- "" or "v2"
	comment TEXT NOT NULL,
	created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX port_routes_port ON port_routes (protocol, port);
CREATE INDEX port_routes_tunnel ON port_routes (tunnel);
