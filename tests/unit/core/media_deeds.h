/* media_deeds.h - the second half of media_world.h: storing, sweeping, fetching, and messages that bring files. */
#pragma once

/* How many files lie in the store; the last one's path. */
static int stored_files;
static char stored_path[300];

static inline int count_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)walk;
    if (type != FTW_F)
        return 0;
    assert_int_equal(status->st_mode & 0777, 0600);
    snprintf(stored_path, sizeof stored_path, "%s", path);
    stored_files++;
    return 0;
}

static inline int files_on_disk(void)
{
    char folder[100];

    snprintf(folder, sizeof folder, "%s/media", fixture.folder);
    stored_files = 0;
    nftw(folder, count_one, 8, FTW_PHYS);
    return stored_files;
}

static inline struct media put(int64_t tenant_id, struct str data)
{
    struct media media = { .tenant_id = tenant_id };
    struct err err = { 0 };

    if (media_put(&fixture.hub, fixture.arena, &media, data, &err))
        fail_msg("put: %s", err.detail);
    return media;
}

static inline int sweep(void)
{
    struct err err = { 0 };
    int removed = media_sweep(&fixture.hub, &err);

    if (removed < 0)
        fail_msg("sweep: %s", err.detail);
    return removed;
}

static inline int fetch_once(void)
{
    struct err err = { 0 };
    int64_t next = INT64_MAX;
    int done = fetch_step(&fixture.hub, 10, &next, &err);

    if (done < 0)
        fail_msg("fetch: %s", err.detail);
    return done;
}

/* A message that came in with these files. */
static inline int64_t say_files(const char *id, const struct channel_attachment *files, size_t count)
{
    struct channel_event event = text_event("anna", id, "look");
    struct inbox_result result;

    event.attachments = files;
    event.attachment_count = count;
    result = receive(files_channel, event);
    assert_int_equal(result.outcome, INBOX_STORED);
    return result.message_id;
}

static inline struct attachment file_of(int64_t message_id, int64_t position)
{
    struct attachment file = { .message_id = message_id, .position = position };
    struct err err = { 0 };
    struct db_session *session = db_read(fixture.hub.db, TENANT, &err);

    assert_non_null(session);
    assert_int_equal(attachment_get(session, fixture.arena, &file, &err), 1);
    db_read_end(session);
    return file;
}
