-- Private networks: which tunnel leads to which addresses. Overlapping networks of different places are
-- kept apart by virtual networks, of which an account has one default.

CREATE TABLE virtual_networks (
	id TEXT PRIMARY KEY,
	account TEXT NOT NULL REFERENCES accounts (id),
	name TEXT NOT NULL,
	comment TEXT NOT NULL,
	is_default BIGINT NOT NULL, -- 1 or 0
	created_at BIGINT NOT NULL,
	deleted_at BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX virtual_networks_living_name ON virtual_networks (account, name)
	WHERE deleted_at = 0;
CREATE UNIQUE INDEX virtual_networks_default ON virtual_networks (account)
	WHERE is_default = 1 AND deleted_at = 0;

-- first and last are the network's lowest and highest address as text that sorts: '4' and eight hex
-- digits, or '6' and thirty-two. So containment is a comparison, and IPv6 never holds IPv4.
CREATE TABLE network_routes (
	id TEXT PRIMARY KEY,
	account TEXT NOT NULL REFERENCES accounts (id),
	network TEXT NOT NULL,      -- "10.0.0.0/8"
	first_address TEXT NOT NULL,
	last_address TEXT NOT NULL,
	bits BIGINT NOT NULL,
	tunnel TEXT NOT NULL REFERENCES tunnels (id),
	virtual_network TEXT NOT NULL REFERENCES virtual_networks (id),
	comment TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	deleted_at BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX network_routes_living ON network_routes (virtual_network, network)
	WHERE deleted_at = 0;
CREATE INDEX network_routes_tunnel ON network_routes (tunnel) WHERE deleted_at = 0;
