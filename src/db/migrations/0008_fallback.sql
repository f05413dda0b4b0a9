-- What is to be sent over another channel when a message was not delivered in time: decided once.
CREATE TABLE fallbacks (
    message_id BIGINT PRIMARY KEY,
    tenant_id BIGINT NOT NULL,
    channel_id BIGINT NOT NULL,
    address TEXT NOT NULL,
    due_ms BIGINT NOT NULL,
    state BIGINT NOT NULL DEFAULT 0,            -- 0 waits, 1 sent, 2 not needed, 3 could not be sent
    sent_id BIGINT,                             -- the message that went out instead
    reason TEXT,
    decided_ms BIGINT
);
CREATE INDEX fallbacks_waiting ON fallbacks (due_ms) WHERE state = 0;
-- only: postgres
ALTER TABLE fallbacks ENABLE ROW LEVEL SECURITY;
-- only: postgres
ALTER TABLE fallbacks FORCE ROW LEVEL SECURITY;
-- only: postgres
CREATE POLICY hub_tenant ON fallbacks USING ((SELECT current_setting('hub.tenant')) = '*'
    OR tenant_id = CAST(NULLIF((SELECT current_setting('hub.tenant')), '*') AS BIGINT));
