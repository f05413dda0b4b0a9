/* kill -9 in the middle of groups: what was acknowledged is there afterwards, whatever else is. */
#include "fixture.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#define ROUNDS 8
#define WRITERS 8

struct row {
    struct db_write_item item;
    int64_t id;
};

static struct db *db;
static int pipe_fd;

static int store_rows(struct db_session *tx, struct db_write_item **items, size_t count, struct err *err)
{
    struct db_value *values = arena_array(db_arena(tx), count, sizeof *values);
    struct db_set set = { "INSERT INTO acks (id) :rows: ON CONFLICT DO NOTHING", "i", values, count };

    for (size_t i = 0; i < count; i++)
        values[i] = db_int(((struct row *)items[i])->id);
    return db_exec_rows(tx, &set, err) < 0 ? -1 : 0;
}

static const struct db_kind store = { "store", 0, store_rows };

/* Write until killed; every id goes into the pipe after its commit was confirmed. */
static void *write_on(void *arg)
{
    int64_t id = *(int64_t *)arg;

    for (;; id++) {
        struct row row = { .item = { .kind = &store }, .id = id };
        struct err err;

        if (!db_submit_wait(db, &row.item, &err) && write(pipe_fd, &id, sizeof id) != sizeof id)
            return NULL;
    }
}

_Noreturn static void be_killed(int round)
{
    static int64_t starts[WRITERS];
    pthread_t threads[WRITERS];
    struct err err;

    db = db_open(&fixture.options, &err);
    if (!db)
        _exit(1);
    for (int i = 0; i < WRITERS; i++) {
        starts[i] = (int64_t)round * 100000000 + i * 1000000 + 1;
        pthread_create(&threads[i], NULL, write_on, &starts[i]);
    }
    for (;;)
        pause();
}

static int count_one(struct db_session *session, int64_t id)
{
    int64_t found = 0;
    struct err err = { 0 };

    if (db_query_int(session, "SELECT COUNT(*) FROM acks WHERE id = $1", DB_ARGS(db_int(id)), 0, &found, &err))
        fail_msg("%s", err.detail);
    return (int)found;
}

static int64_t check_acknowledged(int fd)
{
    struct err err = { 0 };
    struct db_session *session = db_read(db, 0, &err);
    int64_t id, count = 0;

    assert_non_null(session);
    while (read(fd, &id, sizeof id) == sizeof id) {
        assert_int_equal(count_one(session, id), 1);
        count++;
    }
    db_read_end(session);
    return count;
}

static void test_killed(void **state)
{
    int64_t acknowledged = 0;

    (void)state;
    db = open_fresh();
    must(db, on_postgres() ? "CREATE TABLE acks (id BIGINT PRIMARY KEY)"
                           : "CREATE TABLE acks (id INTEGER PRIMARY KEY)");
    for (int round = 0; round < ROUNDS; round++) {
        int fds[2], status;
        pid_t child;

        db_close(db);
        assert_int_equal(pipe(fds), 0);
        child = fork();
        if (child == 0) {
            pipe_fd = fds[1];
            be_killed(round);
        }
        close(fds[1]);
        usleep((useconds_t)(60000 + round * 23000));
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        assert_true(WIFSIGNALED(status));
        db = open_again();
        acknowledged += check_acknowledged(fds[0]);
        close(fds[0]);
    }
    assert_true(acknowledged > ROUNDS);
    assert_true(number(db, "SELECT COUNT(*) FROM acks") >= acknowledged);
    db_close(db);
    remove_fixture();
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_killed) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
