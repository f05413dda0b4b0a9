-- Channels whose far side fetches what is to be sent, and the programs (bridges) that speak for a channel.

-- The workers leave the jobs of such a channel alone.
ALTER TABLE channels ADD COLUMN pulls BIGINT NOT NULL DEFAULT 0;
-- What the channel's bridge says of itself: a word, what pairs it (a QR code's text or a code), its last error, when.
ALTER TABLE channels ADD COLUMN bridge_state TEXT;
ALTER TABLE channels ADD COLUMN bridge_code TEXT;
ALTER TABLE channels ADD COLUMN bridge_error TEXT;
ALTER TABLE channels ADD COLUMN bridge_ms BIGINT;

-- When a running job was offered to the far side; NULL: a worker sends it.
ALTER TABLE jobs ADD COLUMN offered_ms BIGINT;
CREATE INDEX jobs_offered ON jobs (channel_id, offered_ms) WHERE offered_ms IS NOT NULL;

-- Part of the token by which a far side knows a message: grows with each definite failure of what it knows.
ALTER TABLE messages ADD COLUMN generation BIGINT NOT NULL DEFAULT 0;

-- What a bridge keeps here, sealed.
CREATE TABLE bridge_states (
    tenant_id BIGINT NOT NULL,
    channel_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    value BYTEA NOT NULL,
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (channel_id, name)
);

-- only: postgres
ALTER TABLE bridge_states ENABLE ROW LEVEL SECURITY;
-- only: postgres
ALTER TABLE bridge_states FORCE ROW LEVEL SECURITY;
-- only: postgres
CREATE POLICY hub_tenant ON bridge_states USING ((SELECT current_setting('hub.tenant')) = '*'
    OR tenant_id = CAST(NULLIF((SELECT current_setting('hub.tenant')), '*') AS BIGINT));
