-- How it stands with each certificate that is ordered from an ACME authority. The certificate itself, once there is
-- one, is the row "acme NAME" of `certificates`.

CREATE TABLE acme_names (
	name TEXT PRIMARY KEY, -- "domain example.com", "host app.example.com"
	directory TEXT NOT NULL, -- of the authority that issued the certificate; '': there is none yet
	started_at BIGINT NOT NULL, -- from when on it is good
	renewal_id TEXT NOT NULL, -- for RFC 9773; '': it has none
	renew_at BIGINT NOT NULL,
	ask_at BIGINT NOT NULL, -- when to ask the authority for a better time
	failures BIGINT NOT NULL, -- since the last success
	next_at BIGINT NOT NULL, -- not before
	tried_at BIGINT NOT NULL,
	error TEXT NOT NULL, -- of the last attempt, with the authority's words; '': it went well
	on_demand BIGINT NOT NULL -- 1: somebody asked for the name
);
