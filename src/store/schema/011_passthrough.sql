-- Hostnames whose TLS ends at the service: 'on'. NULL: at the edge.

ALTER TABLE sites ADD COLUMN passthrough TEXT;
