-- How visitors are served, per zone or hostname; and what authorities say of the certificates shown to them.

-- A row of the zone itself has an empty hostname. NULL: a hostname takes its zone's, a zone what is built in.
CREATE TABLE sites (
	zone TEXT NOT NULL REFERENCES zones (id) ON DELETE CASCADE,
	hostname TEXT NOT NULL, -- lower case; may begin with "*."
	hsts TEXT,              -- value of Strict-Transport-Security; '' is none
	min_tls TEXT,           -- '1.2' or '1.3'
	client_auth TEXT,       -- 'off', 'optional' or 'require'
	client_ca TEXT,         -- PEM
	PRIMARY KEY (zone, hostname)
);

-- Answers by OCSP (RFC 6960), kept over restarts.
CREATE TABLE ocsp (
	certificate TEXT PRIMARY KEY, -- SHA-256 of the first of the chain, hex
	response BLOB NOT NULL,       -- DER, verified
	fresh_until BIGINT NOT NULL,
	next_try_at BIGINT NOT NULL
);
