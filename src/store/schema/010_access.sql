-- Access: what it is configured to be, who has signed in, and what happened.

CREATE TABLE access_objects (
	kind TEXT NOT NULL,
	id TEXT NOT NULL,
	rank BIGINT NOT NULL, -- the order in which they were made
	sealed_body BLOB NOT NULL, -- JSON; some hold secrets
	PRIMARY KEY (kind, id)
);

-- People who have signed in at least once, and local ones.
CREATE TABLE access_people (
	id TEXT PRIMARY KEY,
	email TEXT NOT NULL UNIQUE, -- lower case
	name TEXT NOT NULL,
	password TEXT, -- argon2id; NULL: they have none
	created_at BIGINT NOT NULL,
	seen_at BIGINT NOT NULL, -- 0: never
	revoked_at BIGINT NOT NULL -- sessions that began before are over
);

CREATE TABLE access_passkeys (
	id TEXT PRIMARY KEY, -- base64url of the credential's id
	person TEXT NOT NULL REFERENCES access_people (id) ON DELETE CASCADE,
	name TEXT NOT NULL,
	public_key BLOB NOT NULL,
	algorithm BIGINT NOT NULL, -- COSE
	counter BIGINT NOT NULL,
	created_at BIGINT NOT NULL
);
CREATE INDEX access_passkeys_person ON access_passkeys (person);

-- One a sign-in: what the identity provider said then.
CREATE TABLE access_sessions (
	id TEXT PRIMARY KEY,
	person TEXT NOT NULL REFERENCES access_people (id) ON DELETE CASCADE,
	provider TEXT NOT NULL,
	sealed_identity BLOB NOT NULL, -- JSON
	address TEXT NOT NULL,
	agent TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL
);
CREATE INDEX access_sessions_person ON access_sessions (person);
CREATE INDEX access_sessions_end ON access_sessions (expires_at);

-- Tokens of an application that were made before are over.
CREATE TABLE access_revocations (
	app TEXT PRIMARY KEY,
	before BIGINT NOT NULL
);

CREATE TABLE audit (
	id INTEGER PRIMARY KEY,
	at BIGINT NOT NULL,
	action TEXT NOT NULL, -- "login", "access.deny", "policy.update" …
	actor TEXT NOT NULL, -- e-mail, token's name; empty: the edge itself, or nobody known
	address TEXT NOT NULL,
	subject TEXT NOT NULL, -- the application, the tunnel …
	outcome TEXT NOT NULL,
	detail TEXT NOT NULL -- JSON object
);
CREATE INDEX audit_at ON audit (at);
