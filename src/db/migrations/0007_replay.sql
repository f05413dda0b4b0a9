-- What is needed to try a parked webhook again: its method, path, query and headers, sealed, for they may hold secrets.
ALTER TABLE parked ADD COLUMN request BYTEA;
