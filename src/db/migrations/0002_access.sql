-- Who may see what, and the names by which older programs know the tables.

-- Row-level security is the second wall behind every query: a session sees one tenant (hub.tenant is its id), the
-- writers' and workers' sessions all ('*'), and a session that never said which is an error.
-- only: postgres
DO $$
DECLARE
    mine CONSTANT TEXT := '(SELECT current_setting(''hub.tenant'')) = ''*'' OR tenant_id = '
        'CAST(NULLIF((SELECT current_setting(''hub.tenant'')), ''*'') AS BIGINT)';
    name TEXT;
BEGIN
    FOR name IN
        SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE n.nspname = current_schema() AND c.relkind = 'r' AND a.attname = 'tenant_id' AND NOT a.attisdropped
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        IF name = 'inbound_rows' THEN
            -- A bridge inserts without saying who it is; what it wrote is checked when it is imported.
            EXECUTE 'CREATE POLICY hub_insert ON inbound_rows FOR INSERT WITH CHECK (1 = 1)';
            EXECUTE format('CREATE POLICY hub_select ON inbound_rows FOR SELECT USING (%s)', mine);
            EXECUTE format('CREATE POLICY hub_update ON inbound_rows FOR UPDATE USING (%s)', mine);
            EXECUTE format('CREATE POLICY hub_delete ON inbound_rows FOR DELETE USING (%s)', mine);
        ELSIF name = 'egress_allow' THEN
            -- Tenant 0 stands for every tenant.
            EXECUTE format('CREATE POLICY hub_tenant ON %I USING (%s OR tenant_id = 0)', name, mine);
        ELSE
            EXECUTE format('CREATE POLICY hub_tenant ON %I USING (%s)', name, mine);
        END IF;
    END LOOP;
END
$$;

-- The older names are views in a schema of their own ("compat"; of a hub in another schema than public, that schema's
-- name and "_compat"). For the rest of this transaction new names go there.
-- only: postgres
DO $$
DECLARE
    home CONSTANT TEXT := current_schema();
    compat CONSTANT TEXT := CASE home WHEN 'public' THEN 'compat' ELSE home || '_compat' END;
BEGIN
    EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I', compat);
    PERFORM set_config('search_path', format('%I, %I', compat, home), true);
END
$$;

-- What machines wrote by themselves: the mark that keeps an agent from reading its own words.
-- only: postgres
CREATE VIEW manus_messages AS SELECT
    COALESCE(m.external_id, CAST(m.id AS TEXT)) AS message_guid,
    m.address AS phone_number,
    CASE m.origin WHEN 6 THEN 'scheduled' WHEN 7 THEN 'webhook' ELSE 'manual' END AS message_type,
    to_timestamp(COALESCE(m.sent_ms, m.received_ms) / 1000.0) AT TIME ZONE 'UTC' AS sent_at,
    m.tenant_id
FROM messages m
WHERE m.direction = 1 AND m.origin IN (4, 6, 7);

-- What came in and how far its handling is.
-- only: postgres
CREATE VIEW message_queue AS SELECT
    m.id,
    m.address AS phone_number,
    COALESCE(m.external_id, CAST(m.id AS TEXT)) AS message_guid,
    m.text AS message_text,
    CASE m.state WHEN 0 THEN 'PENDING' WHEN 1 THEN 'PROCESSING' WHEN 2 THEN 'COMPLETED' ELSE 'FAILED' END AS status,
    to_timestamp(m.received_ms / 1000.0) AT TIME ZONE 'UTC' AS created_at,
    CASE WHEN m.state > 1 THEN to_timestamp(m.updated_ms / 1000.0) AT TIME ZONE 'UTC' END AS processed_at,
    m.tenant_id
FROM messages m
WHERE m.direction = 0 AND m.is_history = 0;

-- Channels.
-- only: postgres
CREATE VIEW et_channel_sessions AS SELECT
    c.id,
    c.tenant_id,
    c.name AS channel,
    c.kind AS provider,
    CASE c.state WHEN 0 THEN 'active' ELSE 'disabled' END AS status,
    c.last_error,
    to_timestamp(c.last_heard_ms / 1000.0) AT TIME ZONE 'UTC' AS last_heard_at,
    to_timestamp(c.created_ms / 1000.0) AT TIME ZONE 'UTC' AS created_at,
    to_timestamp(c.updated_ms / 1000.0) AT TIME ZONE 'UTC' AS updated_at
FROM channels c;

-- Conversations.
-- only: postgres
CREATE VIEW et_threads AS SELECT
    t.id,
    t.tenant_id,
    c.name AS channel,
    t.contact_id,
    t.peer,
    t.title,
    CASE t.state WHEN 0 THEN 'open' WHEN 1 THEN 'waiting' ELSE 'done' END AS status,
    t.unread,
    t.assigned_to,
    to_timestamp(t.last_message_ms / 1000.0) AT TIME ZONE 'UTC' AS last_message_at,
    to_timestamp(t.created_ms / 1000.0) AT TIME ZONE 'UTC' AS created_at,
    to_timestamp(t.updated_ms / 1000.0) AT TIME ZONE 'UTC' AS updated_at
FROM conversations t JOIN channels c ON c.id = t.channel_id;

-- Messages, and the older door for inserting them: what is inserted lands in inbound_rows.
-- only: postgres
CREATE VIEW et_messages AS SELECT
    m.id,
    m.tenant_id,
    m.conversation_id AS thread_id,
    c.name AS channel,
    CASE m.direction WHEN 0 THEN 'inbound' ELSE 'outbound' END AS direction,
    m.address AS sender,
    t.title AS sender_name,
    CASE WHEN t.is_group = 1 THEN t.peer END AS group_id,
    m.text,
    m.type,
    m.external_id,
    CASE m.state WHEN 0 THEN 'received' WHEN 1 THEN 'inbound_processing' WHEN 2 THEN 'processed'
        WHEN 3 THEN 'draft' WHEN 4 THEN 'queued' WHEN 5 THEN 'sending' WHEN 6 THEN 'sent'
        WHEN 7 THEN 'delivered' WHEN 8 THEN 'read' WHEN 9 THEN 'held' WHEN 10 THEN 'unknown'
        WHEN 11 THEN 'failed' WHEN 12 THEN 'cancelled' WHEN 13 THEN 'expired' ELSE 'suppressed' END AS status,
    to_timestamp(COALESCE(m.provider_ms, m.received_ms) / 1000.0) AT TIME ZONE 'UTC' AS sent_at,
    to_timestamp(m.received_ms / 1000.0) AT TIME ZONE 'UTC' AS created_at,
    m.is_history,
    m.metadata
FROM messages m JOIN conversations t ON t.id = m.conversation_id JOIN channels c ON c.id = m.channel_id;

-- Send jobs.
-- only: postgres
CREATE VIEW et_outbound_queue AS SELECT
    j.id,
    j.tenant_id,
    j.message_id,
    j.conversation_id AS thread_id,
    c.name AS channel,
    CASE j.state WHEN 0 THEN 'queued' WHEN 1 THEN 'sending' WHEN 2 THEN 'scheduled' ELSE 'held' END AS status,
    j.attempt AS attempts,
    j.last_error,
    to_timestamp(j.due_ms / 1000.0) AT TIME ZONE 'UTC' AS due_at,
    to_timestamp(j.created_ms / 1000.0) AT TIME ZONE 'UTC' AS created_at
FROM jobs j JOIN channels c ON c.id = j.channel_id
WHERE j.kind = 1;

-- One row per conversation, in the columns that summaries fill.
-- only: postgres
CREATE VIEW et_thread_insights AS SELECT
    t.id AS thread_id,
    t.tenant_id,
    CAST(NULL AS TEXT) AS label,
    CAST(NULL AS TEXT) AS next_step,
    to_timestamp(CAST(NULL AS BIGINT) / 1000.0) AT TIME ZONE 'UTC' AS next_followup_at,
    CAST(NULL AS TEXT) AS summary,
    to_timestamp(t.updated_ms / 1000.0) AT TIME ZONE 'UTC' AS updated_at
FROM conversations t;

-- The people's Macs: iMessage channels.
-- only: postgres
CREATE VIEW blogger_macs AS SELECT
    c.id AS blogger_id,
    COALESCE(CAST(c.settings AS JSON) ->> 'host', CAST(c.settings AS JSON) ->> 'base_url') AS mac_host,
    CAST(c.settings AS JSON) ->> 'port' AS mac_port,
    CAST(c.settings AS JSON) ->> 'username' AS mac_username,
    CAST(c.settings AS JSON) ->> 'apple_id' AS apple_id,
    CASE WHEN c.state = 1 THEN 'inactive' WHEN c.last_error IS NULL THEN 'active' ELSE 'error' END AS status,
    to_timestamp(c.created_ms / 1000.0) AT TIME ZONE 'UTC' AS created_at,
    to_timestamp(c.updated_ms / 1000.0) AT TIME ZONE 'UTC' AS updated_at,
    c.tenant_id
FROM channels c
WHERE c.kind LIKE 'imessage%';

-- Machines that registered as devices of platform "mac".
-- only: postgres
CREATE VIEW mac_fleet AS SELECT
    d.id AS mac_id,
    d.name AS hostname,
    COALESCE(CAST(CAST(d.metadata AS JSON) ->> 'capacity' AS BIGINT), 1) AS capacity,
    CASE WHEN d.channel_id IS NULL THEN 0 ELSE 1 END AS current_usage,
    CASE WHEN d.state = 1 THEN 'maintenance' WHEN d.last_seen_ms IS NULL THEN 'offline' ELSE 'online' END AS status,
    COALESCE(CAST(d.metadata AS JSON) ->> 'provider', 'self-hosted') AS provider,
    to_timestamp(d.created_ms / 1000.0) AT TIME ZONE 'UTC' AS created_at,
    d.tenant_id
FROM devices d
WHERE d.platform = 'mac';

-- only: postgres
CREATE RULE et_messages_insert AS ON INSERT TO et_messages DO INSTEAD
    INSERT INTO inbound_rows (tenant_id, channel, sender, sender_name, group_id, text, type, external_id, sent_at_ms,
        is_history, from_me, metadata)
    VALUES (COALESCE(NEW.tenant_id, 1), NEW.channel, NEW.sender, NEW.sender_name, NEW.group_id, NEW.text,
        COALESCE(NEW.type, 'text'), NEW.external_id,
        CAST(extract(epoch FROM NEW.sent_at AT TIME ZONE 'UTC') * 1000 AS BIGINT), COALESCE(NEW.is_history, 0),
        CASE NEW.direction WHEN 'outbound' THEN 1 ELSE 0 END, NEW.metadata);

-- Bridges write as a role that may insert there and nothing else. The hub cannot make it, because that needs a right
-- that it should not have. The database's administrator says once:
--     CREATE ROLE hub_bridge LOGIN PASSWORD '...';
--     GRANT USAGE ON SCHEMA public, compat TO hub_bridge;
--     GRANT INSERT ON public.inbound_rows, compat.et_messages TO hub_bridge;
-- When the role is there already, this is done here.
-- only: postgres
DO $$
DECLARE
    home TEXT;
BEGIN
    SELECT n.nspname INTO home FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = CAST('inbound_rows' AS regclass);
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'hub_bridge') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I, %I TO hub_bridge', home, current_schema());
        EXECUTE format('GRANT INSERT ON %I.inbound_rows, %I.et_messages TO hub_bridge', home, current_schema());
    END IF;
END
$$;

-- SQLite: the same views among the tables

-- What machines wrote by themselves: the mark that keeps an agent from reading its own words.
-- only: sqlite
CREATE VIEW manus_messages AS SELECT
    COALESCE(m.external_id, CAST(m.id AS TEXT)) AS message_guid,
    m.address AS phone_number,
    CASE m.origin WHEN 6 THEN 'scheduled' WHEN 7 THEN 'webhook' ELSE 'manual' END AS message_type,
    date(COALESCE(m.sent_ms, m.received_ms) / 1000, 'unixepoch') || ' ' || time(COALESCE(m.sent_ms,
        m.received_ms) / 1000, 'unixepoch') AS sent_at,
    m.tenant_id
FROM messages m
WHERE m.direction = 1 AND m.origin IN (4, 6, 7);

-- What came in and how far its handling is.
-- only: sqlite
CREATE VIEW message_queue AS SELECT
    m.id,
    m.address AS phone_number,
    COALESCE(m.external_id, CAST(m.id AS TEXT)) AS message_guid,
    m.text AS message_text,
    CASE m.state WHEN 0 THEN 'PENDING' WHEN 1 THEN 'PROCESSING' WHEN 2 THEN 'COMPLETED' ELSE 'FAILED' END AS status,
    date(m.received_ms / 1000, 'unixepoch') || ' ' || time(m.received_ms / 1000, 'unixepoch') AS created_at,
    CASE WHEN m.state > 1 THEN date(m.updated_ms / 1000, 'unixepoch') || ' ' || time(m.updated_ms / 1000,
        'unixepoch') END AS processed_at,
    m.tenant_id
FROM messages m
WHERE m.direction = 0 AND m.is_history = 0;

-- Channels.
-- only: sqlite
CREATE VIEW et_channel_sessions AS SELECT
    c.id,
    c.tenant_id,
    c.name AS channel,
    c.kind AS provider,
    CASE c.state WHEN 0 THEN 'active' ELSE 'disabled' END AS status,
    c.last_error,
    date(c.last_heard_ms / 1000, 'unixepoch') || ' ' || time(c.last_heard_ms / 1000, 'unixepoch') AS last_heard_at,
    date(c.created_ms / 1000, 'unixepoch') || ' ' || time(c.created_ms / 1000, 'unixepoch') AS created_at,
    date(c.updated_ms / 1000, 'unixepoch') || ' ' || time(c.updated_ms / 1000, 'unixepoch') AS updated_at
FROM channels c;

-- Conversations.
-- only: sqlite
CREATE VIEW et_threads AS SELECT
    t.id,
    t.tenant_id,
    c.name AS channel,
    t.contact_id,
    t.peer,
    t.title,
    CASE t.state WHEN 0 THEN 'open' WHEN 1 THEN 'waiting' ELSE 'done' END AS status,
    t.unread,
    t.assigned_to,
    date(t.last_message_ms / 1000, 'unixepoch') || ' ' || time(t.last_message_ms / 1000,
        'unixepoch') AS last_message_at,
    date(t.created_ms / 1000, 'unixepoch') || ' ' || time(t.created_ms / 1000, 'unixepoch') AS created_at,
    date(t.updated_ms / 1000, 'unixepoch') || ' ' || time(t.updated_ms / 1000, 'unixepoch') AS updated_at
FROM conversations t JOIN channels c ON c.id = t.channel_id;

-- Messages, and the older door for inserting them: what is inserted lands in inbound_rows.
-- only: sqlite
CREATE VIEW et_messages AS SELECT
    m.id,
    m.tenant_id,
    m.conversation_id AS thread_id,
    c.name AS channel,
    CASE m.direction WHEN 0 THEN 'inbound' ELSE 'outbound' END AS direction,
    m.address AS sender,
    t.title AS sender_name,
    CASE WHEN t.is_group = 1 THEN t.peer END AS group_id,
    m.text,
    m.type,
    m.external_id,
    CASE m.state WHEN 0 THEN 'received' WHEN 1 THEN 'inbound_processing' WHEN 2 THEN 'processed'
        WHEN 3 THEN 'draft' WHEN 4 THEN 'queued' WHEN 5 THEN 'sending' WHEN 6 THEN 'sent'
        WHEN 7 THEN 'delivered' WHEN 8 THEN 'read' WHEN 9 THEN 'held' WHEN 10 THEN 'unknown'
        WHEN 11 THEN 'failed' WHEN 12 THEN 'cancelled' WHEN 13 THEN 'expired' ELSE 'suppressed' END AS status,
    date(COALESCE(m.provider_ms, m.received_ms) / 1000, 'unixepoch') || ' ' || time(COALESCE(m.provider_ms,
        m.received_ms) / 1000, 'unixepoch') AS sent_at,
    date(m.received_ms / 1000, 'unixepoch') || ' ' || time(m.received_ms / 1000, 'unixepoch') AS created_at,
    m.is_history,
    m.metadata
FROM messages m JOIN conversations t ON t.id = m.conversation_id JOIN channels c ON c.id = m.channel_id;

-- Send jobs.
-- only: sqlite
CREATE VIEW et_outbound_queue AS SELECT
    j.id,
    j.tenant_id,
    j.message_id,
    j.conversation_id AS thread_id,
    c.name AS channel,
    CASE j.state WHEN 0 THEN 'queued' WHEN 1 THEN 'sending' WHEN 2 THEN 'scheduled' ELSE 'held' END AS status,
    j.attempt AS attempts,
    j.last_error,
    date(j.due_ms / 1000, 'unixepoch') || ' ' || time(j.due_ms / 1000, 'unixepoch') AS due_at,
    date(j.created_ms / 1000, 'unixepoch') || ' ' || time(j.created_ms / 1000, 'unixepoch') AS created_at
FROM jobs j JOIN channels c ON c.id = j.channel_id
WHERE j.kind = 1;

-- One row per conversation, in the columns that summaries fill.
-- only: sqlite
CREATE VIEW et_thread_insights AS SELECT
    t.id AS thread_id,
    t.tenant_id,
    CAST(NULL AS TEXT) AS label,
    CAST(NULL AS TEXT) AS next_step,
    date(CAST(NULL AS BIGINT) / 1000, 'unixepoch') || ' ' || time(CAST(NULL AS BIGINT) / 1000,
        'unixepoch') AS next_followup_at,
    CAST(NULL AS TEXT) AS summary,
    date(t.updated_ms / 1000, 'unixepoch') || ' ' || time(t.updated_ms / 1000, 'unixepoch') AS updated_at
FROM conversations t;

-- The people's Macs: iMessage channels.
-- only: sqlite
CREATE VIEW blogger_macs AS SELECT
    c.id AS blogger_id,
    COALESCE(json_extract(c.settings, '$.host'), json_extract(c.settings, '$.base_url')) AS mac_host,
    json_extract(c.settings, '$.port') AS mac_port,
    json_extract(c.settings, '$.username') AS mac_username,
    json_extract(c.settings, '$.apple_id') AS apple_id,
    CASE WHEN c.state = 1 THEN 'inactive' WHEN c.last_error IS NULL THEN 'active' ELSE 'error' END AS status,
    date(c.created_ms / 1000, 'unixepoch') || ' ' || time(c.created_ms / 1000, 'unixepoch') AS created_at,
    date(c.updated_ms / 1000, 'unixepoch') || ' ' || time(c.updated_ms / 1000, 'unixepoch') AS updated_at,
    c.tenant_id
FROM channels c
WHERE c.kind LIKE 'imessage%';

-- Machines that registered as devices of platform "mac".
-- only: sqlite
CREATE VIEW mac_fleet AS SELECT
    d.id AS mac_id,
    d.name AS hostname,
    COALESCE(CAST(json_extract(d.metadata, '$.capacity') AS BIGINT), 1) AS capacity,
    CASE WHEN d.channel_id IS NULL THEN 0 ELSE 1 END AS current_usage,
    CASE WHEN d.state = 1 THEN 'maintenance' WHEN d.last_seen_ms IS NULL THEN 'offline' ELSE 'online' END AS status,
    COALESCE(json_extract(d.metadata, '$.provider'), 'self-hosted') AS provider,
    date(d.created_ms / 1000, 'unixepoch') || ' ' || time(d.created_ms / 1000, 'unixepoch') AS created_at,
    d.tenant_id
FROM devices d
WHERE d.platform = 'mac';

-- only: sqlite
CREATE TRIGGER et_messages_insert INSTEAD OF INSERT ON et_messages BEGIN
    INSERT INTO inbound_rows (tenant_id, channel, sender, sender_name, group_id, text, type, external_id, sent_at_ms,
        is_history, from_me, metadata)
    VALUES (COALESCE(NEW.tenant_id, 1), NEW.channel, NEW.sender, NEW.sender_name, NEW.group_id, NEW.text,
        COALESCE(NEW.type, 'text'), NEW.external_id, unixepoch(NEW.sent_at) * 1000, COALESCE(NEW.is_history, 0),
        CASE NEW.direction WHEN 'outbound' THEN 1 ELSE 0 END, NEW.metadata); END;
