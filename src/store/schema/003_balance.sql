-- How requests are shared among a tunnel's replicas. NULL: a route takes its tunnel's, a tunnel what is built in.

ALTER TABLE tunnels ADD COLUMN balance TEXT;          -- name of a policy
ALTER TABLE tunnels ADD COLUMN eject_on_5xx BIGINT;   -- 1 or 0
ALTER TABLE routes ADD COLUMN balance TEXT;
ALTER TABLE routes ADD COLUMN eject_on_5xx BIGINT;
