/* The store: what is kept, that it is what was given, and that nothing is kept too long or too short. */
#include "media_world.h"

#include "core/message_edit.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define DAY_MS LIMIT_MEDIA_UNUSED_MS

static void keeps_bytes_once_per_tenant(void **state)
{
    struct media first = put(TENANT, STR("hello")), again = put(TENANT, STR("hello")), other;
    int64_t tenant = add_tenant("other");
    struct db_session *session;
    struct media_bytes bytes;
    struct err err = { 0 };
    struct stat folder;

    (void)state;
    assert_int_equal(first.id, again.id);
    assert_true(str_is(first.type, "text/plain"));
    assert_int_equal(first.size, 5);
    assert_true(str_is(first.hash, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"));
    assert_int_equal(files_on_disk(), 1);
    assert_int_equal(stat(arena_printf(fixture.arena, "%s/media", fixture.folder), &folder), 0);
    assert_int_equal(folder.st_mode & 0777, 0700);
    other = put(tenant, STR("hello"));
    assert_int_not_equal(other.id, first.id);
    assert_int_equal(files_on_disk(), 2);
    assert_int_equal(media_load(&fixture.hub, &first, &bytes, &err), 0);
    assert_memory_equal(bytes.data, "hello", 5);
    media_unload(&bytes);
    session = db_read(fixture.hub.db, TENANT, &err);
    other.tenant_id = TENANT;
    assert_int_equal(media_get(session, fixture.arena, &other, &err), 0);
    assert_int_equal(media_get(session, fixture.arena, &first, &err), 1);
    db_read_end(session);
    assert_int_equal(media_keep(&fixture.hub, fixture.arena, &other, &err), 0);
}

static void refuses_what_is_empty_or_too_large(void **state)
{
    char *large = mem_alloc(LIMIT_MEDIA_BYTES + 1);
    struct media media = { .tenant_id = TENANT };
    struct err err = { 0 };

    (void)state;
    assert_int_equal(media_put(&fixture.hub, fixture.arena, &media, STR(""), &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(media_put(&fixture.hub, fixture.arena, &media, (struct str){ large, LIMIT_MEDIA_BYTES + 1 },
                               &err), -1);
    assert_int_equal(err.code, ERR_TOO_LARGE);
    free(large);
    assert_int_equal(files_on_disk(), 0);
    assert_int_equal(number("SELECT count(*) FROM media"), 0);
}

static void tell_damage(const struct media *media)
{
    struct media_bytes bytes;
    struct err err = { 0 };

    assert_int_equal(media_load(&fixture.hub, media, &bytes, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    err_clear(&err);
    assert_int_equal(media_open(&fixture.hub, media, true, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
}

static void tells_damaged_bytes(void **state)
{
    struct media media = put(TENANT, STR("hello")), healed;
    int fd;

    (void)state;
    assert_int_equal(files_on_disk(), 1);
    fd = open(stored_path, O_WRONLY);
    assert_int_equal(pwrite(fd, "j", 1, 0), 1);
    tell_damage(&media);
    assert_int_equal(ftruncate(fd, 3), 0);
    tell_damage(&media);
    assert_int_equal(ftruncate(fd, 9), 0);
    tell_damage(&media);
    close(fd);
    assert_int_equal(unlink(stored_path), 0);
    tell_damage(&media);
    /* what is brought again is stored again, under another name */
    healed = put(TENANT, STR("hello"));
    assert_int_not_equal(healed.id, media.id);
    assert_int_equal(files_on_disk(), 1);
}

static void a_full_disk_leaves_nothing(void **state)
{
    struct rlimit before, small;
    struct media media = { .tenant_id = TENANT };
    struct err err = { 0 };
    char *data = mem_alloc(3000000);

    (void)state;
    put(TENANT, STR("there"));
    memset(data, 'x', 3000000);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    small = (struct rlimit){ 2000000, before.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(media_put(&fixture.hub, fixture.arena, &media, (struct str){ data, 3000000 }, &err), -1);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(err.code, ERR_STORAGE_FULL);
    assert_true(err.hint[0] != '\0');
    assert_int_equal(files_on_disk(), 1);
    assert_int_equal(number("SELECT count(*) FROM media WHERE state = 1"), 1);
    put(TENANT, (struct str){ data, 3000000 });
    assert_int_equal(files_on_disk(), 2);
    /* the row of the failed try goes like everything that was begun and not ended */
    pushed_ms += DAY_MS + 1000;
    assert_int_equal(sweep(), 3);
    assert_int_equal(files_on_disk(), 0);
    free(data);
}

static void removes_what_nobody_has(void **state)
{
    struct media unused = put(TENANT, STR("unused"));
    struct channel_attachment file = { .name = STR("a"), .data = STR("used") };
    int64_t message_id = say_files("m-1", &file, 1);
    struct err err = { 0 };

    (void)state;
    assert_int_equal(files_on_disk(), 2);
    pushed_ms += DAY_MS - 60000;
    assert_int_equal(sweep(), 0);
    assert_int_equal(media_keep(&fixture.hub, fixture.arena, &unused, &err), 1);
    pushed_ms += 120000;
    assert_int_equal(sweep(), 0);
    pushed_ms += DAY_MS;
    assert_int_equal(sweep(), 1);
    assert_int_equal(files_on_disk(), 1);
    assert_int_equal(number("SELECT count(*) FROM media"), 1);
    pushed_ms += 30 * DAY_MS;
    assert_int_equal(sweep(), 0);
    assert_int_equal(file_of(message_id, 0).state, ATTACHMENT_STORED);
}

static int delete_tx(struct db_session *tx, void *arg, struct err *err)
{
    const struct message_ref ref = { TENANT, *(int64_t *)arg, clock_ms() };

    return message_delete(tx, &ref, err) == 1 ? 0 : -1;
}

static void a_deleted_message_lets_go(void **state)
{
    struct channel_attachment file = { .name = STR("a"), .data = STR("shared") };
    int64_t first = say_files("m-1", &file, 1), second = say_files("m-2", &file, 1);
    struct err err = { 0 };

    (void)state;
    pushed_ms += 2 * DAY_MS;
    assert_int_equal(sweep(), 0);
    assert_int_equal(db_write(fixture.hub.db, delete_tx, &first, &err), 0);
    pushed_ms += 2 * DAY_MS;
    assert_int_equal(sweep(), 0);
    assert_int_equal(db_write(fixture.hub.db, delete_tx, &second, &err), 0);
    assert_int_equal(number("SELECT count(*) FROM attachments"), 0);
    assert_int_equal(sweep(), 0);
    pushed_ms += DAY_MS + 1000;
    assert_int_equal(sweep(), 1);
    assert_int_equal(files_on_disk(), 0);
}

static void write_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0600);

    assert_true(fd >= 0);
    close(fd);
}

/* What a kill leaves, at each of the three moments. */
static void takes_up_what_a_crash_left(void **state)
{
    struct db_session *session;
    struct media media = put(TENANT, STR("half"));

    (void)state;
    assert_int_equal(files_on_disk(), 1);
    must("UPDATE media SET state = 0");                         /* before the row said that it is there */
    write_file(arena_printf(fixture.arena, "%s.part", stored_path));
    session = db_read(fixture.hub.db, TENANT, NULL);
    assert_int_equal(media_get(session, fixture.arena, &media, NULL), 0);
    db_read_end(session);
    pushed_ms += DAY_MS + 1000;
    assert_int_equal(sweep(), 1);
    assert_int_equal(files_on_disk(), 0);
    assert_int_equal(number("SELECT count(*) FROM media"), 0);
    put(TENANT, STR("half"));
    must("UPDATE media SET state = 2, sweep_ms = 1");           /* between the mark and the bytes */
    assert_int_equal(sweep(), 1);
    put(TENANT, STR("half"));
    assert_int_equal(files_on_disk(), 1);
    assert_int_equal(unlink(stored_path), 0);                   /* between the bytes and the row */
    must("UPDATE media SET state = 2, sweep_ms = 1");
    assert_int_equal(sweep(), 1);
    assert_int_equal(number("SELECT count(*) FROM media"), 0);
}

static void links_end_and_cannot_be_made(void **state)
{
    const char *head = "https://hub.example.com/base/media/";
    char *link = arena_strdup(fixture.arena, media_link(&fixture.hub, fixture.arena, 4711));
    size_t from = strlen(head);
    struct err err = { 0 };
    int64_t id = 0;

    (void)state;
    assert_memory_equal(link, head, from);
    assert_int_equal(media_link_read(&fixture.hub, str_c(link + from), &id, &err), 1);
    assert_int_equal(id, 4711);
    for (size_t i = from; link[i]; i++) {
        char was = link[i];

        link[i] = was == 'a' ? 'b' : 'a';
        assert_int_equal(media_link_read(&fixture.hub, str_c(link + from), &id, &err), 0);
        link[i] = was;
    }
    for (size_t cut = strlen(link + from); cut-- > 0; )
        assert_int_equal(media_link_read(&fixture.hub, (struct str){ link + from, cut }, &id, &err), 0);
    pushed_ms += LIMIT_LINK_MS - 5000;
    assert_int_equal(media_link_read(&fixture.hub, str_c(link + from), &id, &err), 1);
    pushed_ms += 10000;
    assert_int_equal(media_link_read(&fixture.hub, str_c(link + from), &id, &err), -1);
    assert_int_equal(err.code, ERR_GONE);
}

static void memory_has_a_ceiling(void **state)
{
    struct err err = { 0 };

    (void)state;
    assert_int_equal(media_hold(LIMIT_MEDIA_HELD_BYTES, &err), 0);
    media_release(LIMIT_MEDIA_HELD_BYTES - 10);
    assert_int_equal(media_hold(LIMIT_MEDIA_HELD_BYTES - 10, &err), 0);
    media_release(LIMIT_MEDIA_HELD_BYTES);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, media_setup, media_teardown)
    const struct CMUnitTest tests[] = {
        CASE(keeps_bytes_once_per_tenant), CASE(refuses_what_is_empty_or_too_large), CASE(tells_damaged_bytes),
        CASE(a_full_disk_leaves_nothing), CASE(removes_what_nobody_has), CASE(a_deleted_message_lets_go),
        CASE(takes_up_what_a_crash_left), CASE(links_end_and_cannot_be_made), CASE(memory_has_a_ceiling),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
