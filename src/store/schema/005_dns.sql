-- What the edge's name server says beyond the routes: records that people added, and of each zone the serial that
-- was published last (0: none was).

CREATE TABLE dns_records (
	id TEXT PRIMARY KEY,
	zone TEXT NOT NULL REFERENCES zones (id) ON DELETE CASCADE,
	name TEXT NOT NULL, -- in full, lower case
	type TEXT NOT NULL, -- upper case
	data TEXT NOT NULL, -- RFC 1035 presentation form
	ttl BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	UNIQUE (name, type, data)
);
CREATE INDEX dns_records_zone ON dns_records (zone);

ALTER TABLE zones ADD COLUMN dns_serial BIGINT NOT NULL DEFAULT 0;

-- Secrets shared with other name servers (TSIG, RFC 8945).
CREATE TABLE dns_keys (
	name TEXT PRIMARY KEY, -- lower case
	algorithm TEXT NOT NULL, -- "hmac-sha256"
	sealed_secret BLOB NOT NULL, -- base64
	created_at BIGINT NOT NULL
);

-- Who may have whole zones, and is told when they change.
CREATE TABLE dns_secondaries (
	address TEXT PRIMARY KEY, -- IP:PORT
	key TEXT NOT NULL REFERENCES dns_keys (name),
	created_at BIGINT NOT NULL
);
