/* statements.h - the statements with which the hub accepts a group of messages, as they stand in src/core and src/db;
 * `benchmarks/run --check` fails when one of them stands there no more. */
#pragma once

#include "base/limits.h"

#define QUOTE(number) #number
#define TEXT_OF(number) QUOTE(number)

/* src/db/sqlite.c, the writer's */
#define SQLITE_PRAGMAS \
    "PRAGMA synchronous = FULL; PRAGMA mmap_size = 0; PRAGMA foreign_keys = ON; PRAGMA cache_size = -16384;" \
    "PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 0"

/* src/core/inbox_find.c */
#define SQL_LOOK_UP \
    "WITH v(tenant_id, channel_id, direction, external_id) AS (:rows:) " \
    "SELECT m.id, m.tenant_id, m.channel_id, m.direction, m.external_id, m.device_id " \
    "FROM v JOIN messages m ON m.tenant_id = v.tenant_id AND m.channel_id = v.channel_id " \
    "AND m.direction = v.direction AND m.external_id = v.external_id"
#define TYPES_LOOK_UP "iiit"

/* src/core/conversation_touch.c */
#define SQL_TOUCH \
    "INSERT INTO conversations (id, tenant_id, channel_id, peer, is_group, contact_id, title, " \
    "unread, last_position, last_message_id, last_message_ms, paused_until_ms, auto_turns, " \
    "created_ms, updated_ms) :rows: ON CONFLICT (tenant_id, channel_id, peer) DO UPDATE SET " \
    "unread = conversations.unread + excluded.unread, " \
    "last_position = conversations.last_position + excluded.last_position, " \
    "last_message_id = CASE WHEN excluded.last_message_id IS NULL " \
    "OR excluded.last_message_ms < conversations.last_message_ms " \
    "THEN conversations.last_message_id ELSE excluded.last_message_id END, " \
    "last_message_ms = CASE WHEN excluded.last_message_id IS NULL " \
    "OR excluded.last_message_ms < conversations.last_message_ms " \
    "THEN conversations.last_message_ms ELSE excluded.last_message_ms END, " \
    "paused_until_ms = COALESCE(excluded.paused_until_ms, conversations.paused_until_ms), " \
    "auto_turns = CASE WHEN excluded.paused_until_ms IS NULL " \
    "THEN conversations.auto_turns + excluded.auto_turns ELSE 0 END, " \
    "state = CASE WHEN excluded.unread > 0 THEN 0 ELSE conversations.state END, " \
    "updated_ms = excluded.updated_ms " \
    "RETURNING id, tenant_id, channel_id, peer, contact_id, last_position, title"
#define TYPES_TOUCH "iiitiitiiiiiiii"
#define SQL_CONTACTS \
    "INSERT INTO contacts (id, tenant_id, channel_id, address, address_given, name, " \
    "created_ms, updated_ms) :rows: ON CONFLICT DO NOTHING"
#define TYPES_CONTACTS "iiitttii"

/* src/core/inbox_store.c */
#define SQL_MESSAGES \
    "INSERT INTO messages (id, tenant_id, conversation_id, position, channel_id, " \
    "contact_id, device_id, direction, state, type, origin, priority, address, text, " \
    "metadata, external_id, reply_to_id, is_history, is_automatic, provider_ms, " \
    "offset_min, received_ms, updated_ms) :rows: ON CONFLICT DO NOTHING"
#define TYPES_MESSAGES "iiiiiiiiitiittttiiiiiii"
#define SQL_CHANNELS \
    "WITH v(id) AS (:rows:) SELECT c.id, c.debounce_ms, c.last_heard_ms, c.gaps, c.alarm_ms " \
    "FROM v JOIN channels c ON c.id = v.id"
#define TYPES_CHANNELS "i"
#define NEW_DUE \
    "CASE WHEN jobs.messages + excluded.messages >= " TEXT_OF(LIMIT_DEBOUNCE_MESSAGES) \
    " THEN excluded.created_ms " \
    "WHEN excluded.due_ms > jobs.first_ms + " TEXT_OF(LIMIT_DEBOUNCE_MAX_MS) \
    " THEN jobs.first_ms + " TEXT_OF(LIMIT_DEBOUNCE_MAX_MS) " ELSE excluded.due_ms END"
#define SQL_JOBS \
    "INSERT INTO jobs (id, tenant_id, kind, state, lane, lane_seq, head, rank_ms, due_ms, " \
    "channel_id, conversation_id, first_ms, messages, created_ms) :rows: " \
    "ON CONFLICT (lane) WHERE kind = 2 AND state = 0 DO UPDATE SET " \
    "messages = jobs.messages + excluded.messages, " \
    "due_ms = " NEW_DUE ", rank_ms = " NEW_DUE
#define TYPES_JOBS "iiiiiiiiiiiiii"

/* src/core/event.c */
#define SQL_TENANT "UPDATE tenants SET seq = seq + $1 WHERE id = $2 RETURNING seq"
#define TYPES_TENANT "ii"
#define SQL_EVENTS "INSERT INTO events (tenant_id, seq, kind, object_id, conversation_id, at_ms, data) :rows:"
#define TYPES_EVENTS "iitiiit"

/* src/db/postgres.c */
#define SQL_NOTIFY "SELECT pg_notify($1, $2)"
