-- A message in parts is delivered when all of them are, a part when all SMS that it became are.

-- How many SMS the provider made of the part; NULL: it has not said.
ALTER TABLE attempts ADD COLUMN segments BIGINT;

-- What has arrived of a part that went out: a row for each of its segments, or one for the whole.
CREATE TABLE arrivals (
    attempt_id BIGINT NOT NULL,
    segment TEXT NOT NULL,                      -- what the provider tells the segments apart by; '': the whole part
    tenant_id BIGINT NOT NULL,
    state BIGINT NOT NULL,                      -- core/message.h: delivered or read
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (attempt_id, segment)
);

-- only: postgres
ALTER TABLE early_receipts
    ADD COLUMN segment TEXT NOT NULL DEFAULT '',
    ADD COLUMN segments BIGINT NOT NULL DEFAULT 0,
    DROP CONSTRAINT early_receipts_pkey,
    ADD PRIMARY KEY (tenant_id, channel_id, external_id, state, segment);

-- only: sqlite
ALTER TABLE early_receipts RENAME TO early_receipts_old;

-- only: sqlite
CREATE TABLE early_receipts (
    tenant_id BIGINT NOT NULL,
    channel_id BIGINT NOT NULL,
    external_id TEXT NOT NULL,
    state BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    code TEXT,
    hint TEXT,
    segment TEXT NOT NULL DEFAULT '',
    segments BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, channel_id, external_id, state, segment)
);

-- only: sqlite
INSERT INTO early_receipts (tenant_id, channel_id, external_id, state, at_ms, code, hint)
SELECT tenant_id, channel_id, external_id, state, at_ms, code, hint FROM early_receipts_old;

-- only: sqlite
DROP TABLE early_receipts_old;

-- only: postgres
ALTER TABLE arrivals ENABLE ROW LEVEL SECURITY;
-- only: postgres
ALTER TABLE arrivals FORCE ROW LEVEL SECURITY;
-- only: postgres
CREATE POLICY hub_tenant ON arrivals USING ((SELECT current_setting('hub.tenant')) = '*'
    OR tenant_id = CAST(NULLIF((SELECT current_setting('hub.tenant')), '*') AS BIGINT));

-- What the pages and `stats` count must not read every message.
CREATE INDEX messages_window ON messages (tenant_id, received_ms);
-- What needs a person: held, unknown, failed. Not on PostgreSQL: an index that looks at the state would make every change
-- of state write to all indexes of the table; there counting them reads the table.
-- only: sqlite
CREATE INDEX messages_stuck ON messages (tenant_id, state, id) WHERE direction = 1 AND state IN (9, 10, 11);
CREATE INDEX conversations_unread ON conversations (tenant_id, unread) WHERE unread > 0;
CREATE INDEX parked_waiting ON parked (tenant_id) WHERE replayed_ms IS NULL;
