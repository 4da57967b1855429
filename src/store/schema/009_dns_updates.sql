-- Zones that another name server keeps: it is told of our hostnames by updates (RFC 2136), and what it was told is
-- remembered here, so that nothing else is ever changed there.

CREATE TABLE dns_updates (
	zone TEXT PRIMARY KEY REFERENCES zones (id) ON DELETE CASCADE,
	server TEXT NOT NULL, -- IP:PORT
	key_name TEXT NOT NULL, -- of the key that signs; '': none
	target TEXT NOT NULL, -- hostnames become CNAMEs of it; '': they get the edge's addresses
	ttl BIGINT NOT NULL
);

CREATE TABLE dns_updated_names (
	zone TEXT NOT NULL REFERENCES zones (id) ON DELETE CASCADE,
	name TEXT NOT NULL, -- in full, lower case
	data TEXT NOT NULL, -- records that are there by us: "A 203.0.113.7", one a line; '': none
	overwrite BIGINT NOT NULL DEFAULT 0, -- 1: records that are in the way may go
	PRIMARY KEY (zone, name)
);
