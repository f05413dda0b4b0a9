-- The core of the hub: who owns what, what was said, what is to be done, what happened.
-- Integers are BIGINT, times are milliseconds since 1970 UTC, booleans are 0/1, JSON is TEXT.

-- Facts about this installation: hub_id, epoch, master_key_id.
CREATE TABLE hub (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- Ids are drawn in blocks before the write and never reused.
CREATE TABLE id_blocks (
    name TEXT PRIMARY KEY,
    next BIGINT NOT NULL
);

CREATE TABLE tenants (
    id BIGINT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    state BIGINT NOT NULL DEFAULT 0,            -- 0 active, 1 suspended
    seq BIGINT NOT NULL DEFAULT 0,              -- last number stamped into events
    horizon BIGINT NOT NULL DEFAULT 0,          -- events up to here may be gone: older cursors resync
    region TEXT NOT NULL DEFAULT 'US',          -- default country of national phone numbers
    time_zone TEXT NOT NULL DEFAULT 'UTC',
    unknown_policy BIGINT NOT NULL DEFAULT 0,   -- after a lookup failed: 0 hold, 1 resend, 2 fail
    created_ms BIGINT NOT NULL
);

CREATE TABLE keys (
    id BIGINT PRIMARY KEY,
    tenant_id BIGINT NOT NULL REFERENCES tenants (id),
    kind BIGINT NOT NULL,                       -- 0 hub key, 1 device key, 2 one-time link
    name TEXT NOT NULL,
    prefix TEXT NOT NULL,                       -- first characters, shown
    hash BYTEA NOT NULL,                        -- HMAC-SHA-256 of the whole token; finds the row
    scopes BIGINT NOT NULL,
    device_id BIGINT,
    replaced_by BIGINT,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT,
    revoked_ms BIGINT,
    last_used_ms BIGINT,
    UNIQUE (tenant_id, id)
);
CREATE UNIQUE INDEX keys_hash ON keys (hash);

CREATE TABLE devices (
    id BIGINT PRIMARY KEY,
    tenant_id BIGINT NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    platform TEXT NOT NULL,
    client_ref TEXT,                            -- the app's own id: registering again finds the same device
    channel_id BIGINT,
    state BIGINT NOT NULL DEFAULT 0,            -- 0 active, 1 revoked
    metadata TEXT,
    synced_seq BIGINT NOT NULL DEFAULT 0,
    synced_ms BIGINT,
    last_seen_ms BIGINT,
    created_ms BIGINT NOT NULL,
    UNIQUE (tenant_id, id)
);
CREATE UNIQUE INDEX devices_client_ref ON devices (tenant_id, client_ref) WHERE client_ref IS NOT NULL;

CREATE TABLE channels (
    id BIGINT PRIMARY KEY,
    tenant_id BIGINT NOT NULL REFERENCES tenants (id),
    kind TEXT NOT NULL,                         -- the driver's name
    name TEXT NOT NULL,
    state BIGINT NOT NULL DEFAULT 0,            -- 0 enabled, 1 disabled
    hook TEXT NOT NULL UNIQUE,                  -- unguessable part of /hooks/<hook>
    settings TEXT NOT NULL DEFAULT '{}',        -- what is not secret
    secrets BYTEA,                              -- sealed JSON object
    policy BIGINT NOT NULL DEFAULT 2,           -- 0 auto_reply, 1 follow_up, 2 human_takeover
    agent TEXT,                                 -- agent driver that answers, or NULL
    auto_reply TEXT,                            -- fixed text of policy auto_reply
    debounce_ms BIGINT NOT NULL DEFAULT 2000,
    region TEXT,
    per_second BIGINT,                          -- rate limits; NULL: the driver's default; 0: none
    per_hour BIGINT,
    per_day BIGINT,
    per_contact_hour BIGINT,
    next_send_ms BIGINT NOT NULL DEFAULT 0,     -- rate limit: nothing is claimed before
    breaker_faults BIGINT NOT NULL DEFAULT 0,
    breaker_until_ms BIGINT NOT NULL DEFAULT 0,
    cursor TEXT,                                -- of poll(); commits with its events
    last_heard_ms BIGINT,
    last_error TEXT,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    UNIQUE (tenant_id, id),
    UNIQUE (tenant_id, name)
);

CREATE TABLE contacts (
    id BIGINT PRIMARY KEY,
    tenant_id BIGINT NOT NULL,
    channel_id BIGINT NOT NULL,
    address TEXT NOT NULL,                      -- normalised once; what is matched
    address_given TEXT,                         -- as received, when it differs; what is replied to
    name TEXT,
    opted_out_ms BIGINT,                        -- STOP was said
    opted_out_text TEXT,
    time_zone TEXT,
    metadata TEXT,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    UNIQUE (tenant_id, id),
    UNIQUE (tenant_id, channel_id, address),
    FOREIGN KEY (tenant_id, channel_id) REFERENCES channels (tenant_id, id)
);

CREATE TABLE conversations (
    id BIGINT PRIMARY KEY,
    tenant_id BIGINT NOT NULL,
    channel_id BIGINT NOT NULL,
    peer TEXT NOT NULL,                         -- the contact's address, or the group's id
    is_group BIGINT NOT NULL DEFAULT 0,         -- groups are never answered by a machine
    contact_id BIGINT,                          -- NULL for groups
    title TEXT,
    state BIGINT NOT NULL DEFAULT 0,            -- 0 open, 1 waiting, 2 done
    assigned_to TEXT,
    paused_until_ms BIGINT,                     -- the agent is silent until then; far future: until handed back
    auto_turns BIGINT NOT NULL DEFAULT 0,       -- machine answers since a person wrote
    unread BIGINT NOT NULL DEFAULT 0,
    last_position BIGINT NOT NULL DEFAULT 0,
    last_message_id BIGINT,
    last_message_ms BIGINT NOT NULL DEFAULT 0,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    UNIQUE (tenant_id, id),
    UNIQUE (tenant_id, channel_id, peer),
    FOREIGN KEY (tenant_id, channel_id) REFERENCES channels (tenant_id, id)
);
CREATE INDEX conversations_recent ON conversations (tenant_id, last_message_ms, id);

CREATE TABLE messages (
    id BIGINT PRIMARY KEY,
    tenant_id BIGINT NOT NULL,
    conversation_id BIGINT NOT NULL,
    position BIGINT NOT NULL,                   -- order inside the conversation
    channel_id BIGINT NOT NULL,
    contact_id BIGINT,
    device_id BIGINT,
    direction BIGINT NOT NULL,                  -- 0 in, 1 out
    state BIGINT NOT NULL,                      -- core/message.h
    type TEXT NOT NULL,                         -- text, sms, mms, ...
    origin BIGINT NOT NULL,                     -- who wrote it: contact, person, rule, agent, ...
    priority BIGINT NOT NULL DEFAULT 0,
    address TEXT NOT NULL,                      -- the peer's, as it was when the message was stored
    text TEXT NOT NULL,
    metadata TEXT,
    external_id TEXT,                           -- the provider's id, or a hash where it gives none
    reply_to_id BIGINT,
    cause_id BIGINT,                            -- the message that this one answers automatically
    decision_id BIGINT,
    is_history BIGINT NOT NULL DEFAULT 0,       -- backfilled: stored, never decided on
    is_automatic BIGINT NOT NULL DEFAULT 0,     -- auto-submitted: never answered by a machine
    provider_ms BIGINT,
    offset_min BIGINT,                          -- the source's zone, minutes east of UTC
    received_ms BIGINT NOT NULL,                -- when the hub stored it
    updated_ms BIGINT NOT NULL,
    scheduled_ms BIGINT,
    expires_ms BIGINT,
    sent_ms BIGINT,
    delivered_ms BIGINT,
    read_ms BIGINT,
    edited_ms BIGINT,
    deleted_ms BIGINT,
    parts BIGINT NOT NULL DEFAULT 1,
    error_code TEXT,
    error_hint TEXT,
    FOREIGN KEY (tenant_id, conversation_id) REFERENCES conversations (tenant_id, id)
);
CREATE UNIQUE INDEX messages_position ON messages (conversation_id, position);
CREATE INDEX messages_tenant ON messages (tenant_id, id);
CREATE UNIQUE INDEX messages_external ON messages (tenant_id, channel_id, direction, external_id)
    WHERE external_id IS NOT NULL;

-- One SMS that two devices forwarded is one message with two sources.
CREATE TABLE message_sources (
    message_id BIGINT NOT NULL,
    tenant_id BIGINT NOT NULL,
    device_id BIGINT NOT NULL,
    received_ms BIGINT NOT NULL,
    PRIMARY KEY (message_id, device_id)
);

-- The text before an edit; the newest stands in messages.
CREATE TABLE message_revisions (
    message_id BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    tenant_id BIGINT NOT NULL,
    text TEXT NOT NULL,
    replaced_ms BIGINT NOT NULL,
    PRIMARY KEY (message_id, revision)
);

CREATE TABLE message_reactions (
    message_id BIGINT NOT NULL,
    actor TEXT NOT NULL,                        -- the contact's address, or "hub"
    emoji TEXT NOT NULL,
    tenant_id BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (message_id, actor, emoji)
);

CREATE TABLE message_tags (
    message_id BIGINT NOT NULL,
    tag TEXT NOT NULL,
    tenant_id BIGINT NOT NULL,
    PRIMARY KEY (message_id, tag)
);
CREATE INDEX message_tags_tag ON message_tags (tenant_id, tag, message_id);

-- A receipt that came before the answer that names its message.
CREATE TABLE early_receipts (
    tenant_id BIGINT NOT NULL,
    channel_id BIGINT NOT NULL,
    external_id TEXT NOT NULL,
    state BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    code TEXT,
    hint TEXT,
    PRIMARY KEY (tenant_id, channel_id, external_id, state)
);

CREATE TABLE jobs (
    id BIGINT PRIMARY KEY,
    tenant_id BIGINT NOT NULL,
    kind BIGINT NOT NULL,                       -- 1 send, 2 decide, 3 webhook
    state BIGINT NOT NULL,                      -- 0 ready, 1 running, 2 scheduled, 3 held
    lane BIGINT NOT NULL,                       -- jobs of one kind and lane run one after the other
    lane_seq BIGINT NOT NULL,
    head BIGINT NOT NULL,                       -- 1: the first of its lane; only heads are claimed
    rank_ms BIGINT NOT NULL,                    -- due_ms moved earlier by priority: the order between lanes
    due_ms BIGINT NOT NULL,
    attempt BIGINT NOT NULL DEFAULT 0,          -- fencing number
    failures BIGINT NOT NULL DEFAULT 0,         -- tries that count against the limit
    lease_until_ms BIGINT,
    node TEXT,
    channel_id BIGINT,
    conversation_id BIGINT,
    message_id BIGINT,
    part BIGINT NOT NULL DEFAULT 0,             -- parts already accepted by the provider
    first_ms BIGINT NOT NULL,                   -- decide: when the burst began
    messages BIGINT NOT NULL DEFAULT 1,         -- decide: messages in the burst
    data TEXT,                                  -- webhook: what to call
    last_error TEXT,
    created_ms BIGINT NOT NULL
);
CREATE INDEX jobs_send ON jobs (channel_id, rank_ms) WHERE kind = 1 AND head = 1 AND state = 0;
CREATE INDEX jobs_claim ON jobs (kind, rank_ms) WHERE kind > 1 AND head = 1 AND state = 0;
CREATE UNIQUE INDEX jobs_head ON jobs (lane) WHERE kind = 1 AND head = 1;
CREATE INDEX jobs_lane ON jobs (kind, lane, lane_seq) WHERE head = 0 AND state = 0;
CREATE INDEX jobs_lease ON jobs (lease_until_ms) WHERE state = 1;
CREATE INDEX jobs_scheduled ON jobs (due_ms) WHERE state = 2;
CREATE INDEX jobs_message ON jobs (message_id) WHERE message_id IS NOT NULL;
CREATE UNIQUE INDEX jobs_decide ON jobs (lane) WHERE kind = 2 AND state = 0;
CREATE INDEX jobs_deciding ON jobs (lane) WHERE kind = 2 AND state = 1;

-- What was used of a rate limit in its window.
CREATE TABLE limit_use (
    channel_id BIGINT NOT NULL,
    scope TEXT NOT NULL,                        -- "second", "hour", "day", "contact:<id>"
    slot BIGINT NOT NULL,                       -- a window slides in slots (core/limit.h)
    window_ms BIGINT NOT NULL,                  -- the last use counted in this slot
    tenant_id BIGINT NOT NULL,
    used BIGINT NOT NULL,
    PRIMARY KEY (channel_id, scope, slot)
);

CREATE TABLE attempts (
    id BIGINT PRIMARY KEY,
    tenant_id BIGINT NOT NULL,
    message_id BIGINT NOT NULL,
    channel_id BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    part BIGINT NOT NULL,
    outcome BIGINT NOT NULL,                    -- 0 started, 1 done, 2 retry, 3 refused, 4 unsure
    code TEXT,
    detail TEXT,
    external_id TEXT,
    started_ms BIGINT NOT NULL,
    finished_ms BIGINT
);
CREATE INDEX attempts_message ON attempts (message_id, id);
CREATE INDEX attempts_external ON attempts (tenant_id, channel_id, external_id) WHERE external_id IS NOT NULL;

CREATE TABLE rules (
    id BIGINT PRIMARY KEY,
    tenant_id BIGINT NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    position BIGINT NOT NULL,                   -- evaluated in this order
    state BIGINT NOT NULL DEFAULT 0,            -- 0 enabled, 1 disabled
    matches TEXT NOT NULL,
    actions TEXT NOT NULL,
    hits BIGINT NOT NULL DEFAULT 0,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    UNIQUE (tenant_id, id),
    UNIQUE (tenant_id, name)
);

CREATE TABLE decisions (
    id BIGINT PRIMARY KEY,
    tenant_id BIGINT NOT NULL,
    conversation_id BIGINT NOT NULL,
    message_id BIGINT NOT NULL,                 -- the newest message it covers
    messages BIGINT NOT NULL,
    action BIGINT NOT NULL,                     -- core/decide.h
    reason TEXT NOT NULL,
    rule_id BIGINT,
    agent TEXT,
    reply_id BIGINT,
    trace TEXT NOT NULL,                        -- the steps with their times, JSON
    created_ms BIGINT NOT NULL
);
CREATE INDEX decisions_conversation ON decisions (conversation_id, id);

-- The log: what happened to what, per tenant, numbered without gaps in the order of the commits.
CREATE TABLE events (
    tenant_id BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    kind TEXT NOT NULL,
    object_id BIGINT NOT NULL,
    conversation_id BIGINT,
    at_ms BIGINT NOT NULL,
    data TEXT,
    PRIMARY KEY (tenant_id, seq)
);
-- One object's history. That a message was received stands in its own row, so this kind is left out: accepting does not
-- pay for the index.
CREATE INDEX events_object ON events (object_id, seq) WHERE kind <> 'message.received';

CREATE TABLE idempotency (
    tenant_id BIGINT NOT NULL,
    key_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    body_hash BYTEA NOT NULL,
    status BIGINT NOT NULL,
    answer TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, key_id, name)
);
CREATE INDEX idempotency_created ON idempotency (created_ms);

CREATE TABLE audit (
    id BIGINT PRIMARY KEY,
    tenant_id BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    actor TEXT NOT NULL,                        -- "key_...", "uid:1000", "hub"
    action TEXT NOT NULL,                       -- operation name, "access.denied", "send.failed", "worker.error"
    object TEXT,
    detail TEXT,
    peer TEXT,
    request_id TEXT
);
CREATE INDEX audit_tenant ON audit (tenant_id, id);

-- Operators name the private addresses that channels may reach.
CREATE TABLE egress_allow (
    id BIGINT PRIMARY KEY,
    tenant_id BIGINT NOT NULL,                  -- 0: every tenant
    network TEXT NOT NULL,                      -- CIDR
    port BIGINT NOT NULL,                       -- 0: every port
    created_ms BIGINT NOT NULL
);

-- Other processes write here and nowhere else; the hub imports each row or parks it with a reason.
-- only: sqlite
CREATE TABLE inbound_rows (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id BIGINT NOT NULL DEFAULT 1,
    channel TEXT,
    sender TEXT,
    sender_name TEXT,
    group_id TEXT,
    text TEXT,
    type TEXT NOT NULL DEFAULT 'text',
    external_id TEXT,
    sent_at_ms BIGINT,
    is_history BIGINT NOT NULL DEFAULT 0,
    from_me BIGINT NOT NULL DEFAULT 0,
    metadata TEXT
);
-- only: postgres
CREATE TABLE inbound_rows (
    id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    tenant_id BIGINT NOT NULL DEFAULT 1,
    channel TEXT,
    sender TEXT,
    sender_name TEXT,
    group_id TEXT,
    text TEXT,
    type TEXT NOT NULL DEFAULT 'text',
    external_id TEXT,
    sent_at_ms BIGINT,
    is_history BIGINT NOT NULL DEFAULT 0,
    from_me BIGINT NOT NULL DEFAULT 0,
    metadata TEXT,
    -- The importer takes 500 rows at once. What is longer than a text may be, but not this long, is parked.
    CONSTRAINT inbound_rows_size CHECK (coalesce(octet_length(text), 0) + coalesce(octet_length(metadata), 0)
        + coalesce(octet_length(channel), 0) + coalesce(octet_length(sender), 0) + coalesce(octet_length(sender_name), 0)
        + coalesce(octet_length(group_id), 0) + coalesce(octet_length(external_id), 0) + octet_length(type) <= 4194304)
);

-- What could not be imported or parsed, kept whole with its reason, to be replayed.
CREATE TABLE parked (
    id BIGINT PRIMARY KEY,
    tenant_id BIGINT NOT NULL,
    channel_id BIGINT,
    source TEXT NOT NULL,                       -- "inbound_rows", "hook"
    reason TEXT NOT NULL,
    content BYTEA NOT NULL,
    content_type TEXT,
    digest TEXT NOT NULL,                       -- the same content is parked once
    created_ms BIGINT NOT NULL,
    replayed_ms BIGINT,
    UNIQUE (tenant_id, source, digest)
);

-- only: postgres
CREATE FUNCTION inbound_rows_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('inbound_rows', '');
    RETURN NULL;
END
$$;
-- only: postgres
CREATE TRIGGER inbound_rows_notify AFTER INSERT ON inbound_rows
    FOR EACH STATEMENT EXECUTE FUNCTION inbound_rows_notify();

-- The binding phone number <-> agent account <-> agent key.
CREATE TABLE connections (
    id BIGINT PRIMARY KEY,
    tenant_id BIGINT NOT NULL REFERENCES tenants (id),
    connection_id VARCHAR(50) NOT NULL UNIQUE,
    phone_number VARCHAR(20) NOT NULL,
    agent TEXT NOT NULL DEFAULT 'manus',
    manus_api_key BYTEA,                        -- sealed
    photon_api_key VARCHAR(255) UNIQUE,         -- HMAC in hex; shown as prefix and last four
    webhook_id VARCHAR(255),
    status VARCHAR(20) NOT NULL CHECK (status IN ('PENDING', 'ACTIVE', 'REVOKED')),
    reason TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    activated_at BIGINT,
    revoked_at BIGINT,
    UNIQUE (tenant_id, id)
);
CREATE INDEX connections_phone ON connections (tenant_id, phone_number, status);
CREATE INDEX connections_status ON connections (status, expires_at);
CREATE UNIQUE INDEX connections_one_active ON connections (tenant_id, phone_number) WHERE status = 'ACTIVE';
