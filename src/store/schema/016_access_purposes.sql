-- That somebody said why they open an application; what they said is in the audit log.
CREATE TABLE access_purposes (
	session TEXT NOT NULL REFERENCES access_sessions (id) ON DELETE CASCADE,
	app TEXT NOT NULL, -- its id
	given_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	PRIMARY KEY (session, app)
);
