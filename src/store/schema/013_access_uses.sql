-- When a service token was last let in, to the hour.
CREATE TABLE access_uses (
	token TEXT PRIMARY KEY,
	at BIGINT NOT NULL
);
