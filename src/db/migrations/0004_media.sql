-- Files: their bytes lie in the media store, what they are and where they hang stands here.

-- A file of a tenant. Its bytes are named by hash and id, so a name is never used twice.
CREATE TABLE media (
    id BIGINT PRIMARY KEY,
    tenant_id BIGINT NOT NULL,
    hash TEXT NOT NULL,                         -- SHA-256 of the bytes, in hex
    size BIGINT NOT NULL,
    type TEXT NOT NULL,                         -- sniffed from the bytes
    state BIGINT NOT NULL,                      -- core/media.h: 0 being written, 1 stored, 2 being removed
    sweep_ms BIGINT,                            -- then it is removed unless a message has it; NULL: one had it
    created_ms BIGINT NOT NULL,
    UNIQUE (tenant_id, id)
);
CREATE INDEX media_hash ON media (tenant_id, hash) WHERE state = 1;
CREATE INDEX media_sweep ON media (sweep_ms) WHERE sweep_ms IS NOT NULL;

-- A file of a message, in its place.
CREATE TABLE attachments (
    message_id BIGINT NOT NULL,
    position BIGINT NOT NULL,
    tenant_id BIGINT NOT NULL,
    media_id BIGINT,                            -- NULL until its bytes are here
    ref TEXT,                                   -- where the bytes are fetched: a URL, or the provider's own word
    is_public BIGINT NOT NULL DEFAULT 0,        -- the ref is a URL that anybody may have written
    name TEXT,                                  -- as given, made safe
    type TEXT NOT NULL,                         -- sniffed; until it is stored, as announced
    size BIGINT NOT NULL,
    state BIGINT NOT NULL,                      -- core/attachment.h: 0 pending, 1 stored, 2 failed
    reason TEXT,                                -- why it failed
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (message_id, position),
    FOREIGN KEY (tenant_id, media_id) REFERENCES media (tenant_id, id)
);
CREATE INDEX attachments_media ON attachments (media_id) WHERE media_id IS NOT NULL;

-- A JSON list of files: {"name", "type", "data": base64, or "ref": for the channel's driver, or "url": public, or "media": an id}.
ALTER TABLE inbound_rows ADD COLUMN attachments TEXT;

-- only: postgres
ALTER TABLE inbound_rows ADD CONSTRAINT inbound_rows_attachments CHECK (
    coalesce(octet_length(attachments), 0) <= 4194304);

-- only: postgres
DO $$
DECLARE
    mine CONSTANT TEXT := '(SELECT current_setting(''hub.tenant'')) = ''*'' OR tenant_id = '
        'CAST(NULLIF((SELECT current_setting(''hub.tenant'')), ''*'') AS BIGINT)';
    name TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY['media', 'attachments'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY hub_tenant ON %I USING (%s)', name, mine);
    END LOOP;
END
$$;
