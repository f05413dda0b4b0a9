/* fixture_receive.h - the second half of fixture.h: channels, tenants, and messages that come in.
 */
#pragma once

static inline int64_t draw(void)
{
    struct err err = { 0 };
    int64_t id = ids_next(fixture.hub.ids, &err);

    if (id < 0)
        fail_msg("ids: %s", err.detail);
    return id;
}

static inline int64_t add_channel(int64_t tenant_id, const char *kind, const char *name)
{
    struct channel_edit edit = channel_edit(fixture.arena, tenant_id, draw(), clock_ms());
    struct err err = { 0 };

    edit.kind = str_c(kind);
    edit.name = str_c(name);
    edit.settings = json_parse(fixture.arena, STR("{}"), &err);
    if (db_write(fixture.hub.db, channel_add, &edit, &err))
        fail_msg("channel: %s", err.detail);
    return edit.id;
}

static inline int add_tenant_tx(struct db_session *tx, void *arg, struct err *err)
{
    return tenant_add(tx, arg, err);
}

static inline int64_t add_tenant(const char *name)
{
    struct tenant tenant = { .id = draw(), .name = str_c(name), .region = STR("US"),
                             .time_zone = STR("UTC"), .created_ms = clock_ms() };
    struct err err = { 0 };

    if (db_write(fixture.hub.db, add_tenant_tx, &tenant, &err))
        fail_msg("tenant: %s", err.detail);
    return tenant.id;
}

/* --- Receiving -------------------------------------------------------------------------------- */

/* An inbound text. */
static inline struct channel_event text_event(const char *from, const char *external_id,
                                              const char *text)
{
    return (struct channel_event){ .kind = CHANNEL_MESSAGE, .address = str_c(from),
                                   .external_id = str_c(external_id), .text = str_c(text),
                                   .priority = PRIORITY_NORMAL };
}

/* Hand in events; results for each. Lives in `arena`. */
static inline struct inbox_write *receive_into(struct arena *arena, int64_t tenant_id,
                                               int64_t channel_id,
                                               const struct channel_event *events, size_t count)
{
    struct inbox_write *write = arena_alloc(arena, sizeof *write);
    struct err err = { 0 };

    write->tenant_id = tenant_id;
    write->channel_id = channel_id;
    write->events = events;
    write->count = count;
    write->results = arena_array(arena, count, sizeof *write->results);
    if (inbox_accept(&fixture.hub, arena, write, &err))
        fail_msg("accept: %s", err.detail);
    return write;
}

static inline struct inbox_result receive(int64_t channel_id, struct channel_event event)
{
    struct arena *arena = arena_new(0);
    struct inbox_write *write = receive_into(arena, TENANT, channel_id, &event, 1);
    struct inbox_result result = write->results[0];

    arena_free(arena);
    return result;
}

static inline int64_t say(int64_t channel_id, const char *from, const char *external_id,
                          const char *text)
{
    struct inbox_result result = receive(channel_id, text_event(from, external_id, text));

    assert_int_equal(result.outcome, INBOX_STORED);
    return result.message_id;
}
