-- Several addresses of one contact, one person behind several contacts, and what is done to messages that are out.

-- Further identifiers of a contact on its channel. None of them is the address of another contact there.
CREATE TABLE identities (
    tenant_id BIGINT NOT NULL,
    channel_id BIGINT NOT NULL,
    address TEXT NOT NULL,                      -- normalised, like contacts.address
    contact_id BIGINT NOT NULL,
    kind BIGINT NOT NULL,                       -- 0 identifier, 1 user name: it may change hands, so nobody is found by it
    address_given TEXT,                         -- as received, when it differs
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, channel_id, address),
    FOREIGN KEY (tenant_id, contact_id) REFERENCES contacts (tenant_id, id)
);
CREATE INDEX identities_contact ON identities (contact_id);
CREATE INDEX identities_address ON identities (tenant_id, address);

-- Core/consent.h: who said so, bits.
ALTER TABLE contacts ADD COLUMN opted_out_by BIGINT NOT NULL DEFAULT 0;
-- Shared by the contacts of one person.
ALTER TABLE contacts ADD COLUMN person_id BIGINT;
UPDATE contacts SET opted_out_by = CASE WHEN opted_out_text LIKE 'provider:%' THEN 2 ELSE 1 END
    WHERE opted_out_ms IS NOT NULL;
CREATE INDEX contacts_person ON contacts (tenant_id, person_id) WHERE person_id IS NOT NULL;
CREATE INDEX contacts_address ON contacts (tenant_id, address);

-- The answer to HELP; NULL: the hub's own.
ALTER TABLE channels ADD COLUMN help_text TEXT;

-- A reaction, edit, deletion or reading that goes out: its job stands in the conversation's lane like a send.
CREATE TABLE acts (
    id BIGINT PRIMARY KEY,
    tenant_id BIGINT NOT NULL,
    conversation_id BIGINT NOT NULL,
    channel_id BIGINT NOT NULL,
    message_id BIGINT NOT NULL,                 -- what it is done to
    act BIGINT NOT NULL,                        -- core/channel_send.h
    text TEXT NOT NULL,                         -- the emoji, or the new text
    state BIGINT NOT NULL,                      -- core/message.h: queued, sending, sent, unknown, failed
    error_code TEXT,
    error_hint TEXT,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL
);
CREATE INDEX acts_message ON acts (message_id, id);

-- The job is an act: message_id is NULL.
ALTER TABLE jobs ADD COLUMN act_id BIGINT;
-- The try of an act on message_id.
ALTER TABLE attempts ADD COLUMN act_id BIGINT;

-- Acts share the place of the message before them.
DROP INDEX jobs_lane;
CREATE INDEX jobs_lane ON jobs (kind, lane, lane_seq, id) WHERE head = 0 AND state = 0;

-- only: postgres
DO $$
DECLARE
    mine CONSTANT TEXT := '(SELECT current_setting(''hub.tenant'')) = ''*'' OR tenant_id = '
        'CAST(NULLIF((SELECT current_setting(''hub.tenant'')), ''*'') AS BIGINT)';
    name TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY['identities', 'acts'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY hub_tenant ON %I USING (%s)', name, mine);
    END LOOP;
END
$$;
