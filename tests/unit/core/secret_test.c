/* The master key's file and its id in the database. */
#include "../db/fixture.h"

#include "core/secret.h"
#include "db/migrate.h"

#include <sys/stat.h>

static char path[160];

static int start(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/hub-secret-test-%ld", (long)getpid());
    unlink(path);
    unsetenv("CREDENTIALS_DIRECTORY");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

static void is_made_once(void **state)
{
    unsigned char first[SIGN_KEY_BYTES], second[SIGN_KEY_BYTES];
    struct stat status;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(secret_load((struct str){ 0 }, path, true, first, &err), 0);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(secret_load((struct str){ 0 }, path, true, second, &err), 0);
    assert_memory_equal(first, second, sizeof first);
}

static void is_not_made_where_one_is_missed(void **state)
{
    unsigned char key[SIGN_KEY_BYTES];
    struct err err = { 0 };

    (void)state;
    assert_int_equal(secret_load((struct str){ 0 }, path, false, key, &err), -1);
    assert_non_null(strstr(err.hint, "master.key"));
    assert_int_equal(access(path, F_OK), -1);
}

static void others_may_not_read_it(void **state)
{
    unsigned char key[SIGN_KEY_BYTES];
    struct err err = { 0 };

    (void)state;
    assert_int_equal(secret_load((struct str){ 0 }, path, true, key, &err), 0);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(secret_load((struct str){ 0 }, path, true, key, &err), -1);
    assert_non_null(strstr(err.hint, "chmod 600"));
}

static void links_and_nonsense_are_refused(void **state)
{
    unsigned char key[SIGN_KEY_BYTES];
    struct err err = { 0 };
    FILE *file = fopen(path, "w");

    (void)state;
    fputs("not a key\n", file);
    fclose(file);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(secret_load((struct str){ 0 }, path, true, key, &err), -1);
    unlink(path);
    assert_int_equal(symlink("/dev/zero", path), 0);
    assert_int_equal(secret_load((struct str){ 0 }, path, true, key, &err), -1);
}

static void a_given_key_wins(void **state)
{
    unsigned char key[SIGN_KEY_BYTES], wanted[SIGN_KEY_BYTES];
    struct err err = { 0 };

    (void)state;
    memset(wanted, 0xab, sizeof wanted);
    assert_int_equal(
        secret_load(STR("abababababababababababababababababababababababababababababababab"), path, false, key, &err),
        0);
    assert_memory_equal(key, wanted, sizeof key);
    assert_int_equal(secret_load(STR("abab"), path, false, key, &err), -1);
    assert_int_equal(access(path, F_OK), -1);
}

static void a_node_with_another_key_is_refused(void **state)
{
    unsigned char key[SIGN_KEY_BYTES] = { 1 }, other[SIGN_KEY_BYTES] = { 2 };
    struct err err = { 0 };
    struct db *db = open_fresh();

    (void)state;
    assert_int_equal(migrate(db, migrations, NULL, &err), 0);
    assert_int_equal(secret_known(db, &err), 0);
    assert_int_equal(secret_check(db, key, &err), 0);
    assert_int_equal(secret_known(db, &err), 1);
    assert_int_equal(secret_check(db, key, &err), 0);
    assert_int_equal(secret_check(db, other, &err), -1);
    assert_non_null(strstr(err.detail, "another master key"));
    /* only its id is stored */
    assert_int_equal(number(db, "SELECT COUNT(*) FROM hub WHERE value LIKE '%0100000000%'"), 0);
    db_close(db);
    remove_fixture();
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        CASE(is_made_once), CASE(is_not_made_where_one_is_missed), CASE(others_may_not_read_it),
        CASE(links_and_nonsense_are_refused), CASE(a_given_key_wins), CASE(a_node_with_another_key_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
