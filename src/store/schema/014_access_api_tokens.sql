-- API tokens that administer Access. Not those of tunnels: whoever may run a tunnel must not open what a policy guards.
CREATE TABLE access_api_tokens (
	hash BLOB PRIMARY KEY,
	name TEXT NOT NULL UNIQUE,
	created_at BIGINT NOT NULL
);
