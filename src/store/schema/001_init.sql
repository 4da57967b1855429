-- The first schema. Written so that SQLite and PostgreSQL both take it: ids are text (UUID with
-- dashes, account ids 32 hex digits), times are microseconds since 1970 UTC, BLOB is a domain over
-- bytea in PostgreSQL.

-- One row per write. The highest rev says how new the state is; old rows are dropped.
CREATE TABLE changes (
	rev INTEGER PRIMARY KEY,
	at BIGINT NOT NULL,
	what TEXT NOT NULL
);

-- Something only the right master key opens, so that a wrong one is noticed before it seals anything.
CREATE TABLE sealing (
	id INTEGER PRIMARY KEY CHECK (id = 1),
	proof BLOB NOT NULL
);

CREATE TABLE settings (
	name TEXT PRIMARY KEY,
	value TEXT,
	sealed BLOB,
	CHECK ((value IS NULL) <> (sealed IS NULL))
);

CREATE TABLE accounts (
	id TEXT PRIMARY KEY,
	created_at BIGINT NOT NULL
);

CREATE TABLE users (
	email TEXT PRIMARY KEY,
	password TEXT, -- argon2id in its usual text form; NULL: signs in by link only
	created_at BIGINT NOT NULL
);

CREATE TABLE links (
	hash BLOB PRIMARY KEY,
	email TEXT NOT NULL REFERENCES users (email) ON DELETE CASCADE,
	expires_at BIGINT NOT NULL
);
CREATE INDEX links_email ON links (email);

CREATE TABLE zones (
	id TEXT PRIMARY KEY,
	account TEXT NOT NULL REFERENCES accounts (id),
	name TEXT NOT NULL UNIQUE,
	created_at BIGINT NOT NULL
);

-- A token is bound to its zone and goes with it.
CREATE TABLE tokens (
	hash BLOB PRIMARY KEY,
	account TEXT NOT NULL REFERENCES accounts (id),
	zone TEXT NOT NULL REFERENCES zones (id) ON DELETE CASCADE,
	note TEXT NOT NULL,
	created_at BIGINT NOT NULL
);
CREATE INDEX tokens_zone ON tokens (zone);

CREATE TABLE tunnels (
	id TEXT PRIMARY KEY,
	account TEXT NOT NULL REFERENCES accounts (id),
	name TEXT NOT NULL,
	secret BLOB, -- sealed; NULL once the tunnel is deleted
	created_at BIGINT NOT NULL,
	deleted_at BIGINT NOT NULL DEFAULT 0,
	CHECK ((secret IS NULL) = (deleted_at <> 0))
);
CREATE UNIQUE INDEX tunnels_living_name ON tunnels (account, name) WHERE deleted_at = 0;

CREATE TABLE routes (
	hostname TEXT PRIMARY KEY,
	zone TEXT NOT NULL REFERENCES zones (id),
	tunnel TEXT NOT NULL REFERENCES tunnels (id),
	created_at BIGINT NOT NULL
);
CREATE INDEX routes_zone ON routes (zone);
CREATE INDEX routes_tunnel ON routes (tunnel);

CREATE TABLE certificates (
	name TEXT PRIMARY KEY,
	rev INTEGER NOT NULL,      -- of the change that wrote it: with the name, it says which certificate
	hostnames TEXT NOT NULL,   -- one a line
	issuer TEXT NOT NULL,      -- fingerprint of the CA
	expires_at BIGINT NOT NULL,
	cert TEXT NOT NULL,        -- PEM
	sealed_key BLOB NOT NULL   -- PEM, sealed
);
