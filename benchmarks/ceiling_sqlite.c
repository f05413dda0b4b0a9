/* SQLite under the ceiling's loop: a row is bound and stepped at once; the log is copied back by the loop itself, as
 * often as the hub's background thread does it. */
#include "ceiling.h"
#include "measure.h"
#include "statements.h"

#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PAGE_BYTES 4096

static sqlite3 *handle;
static sqlite3_stmt *begin, *commit, *prepared[STATEMENTS], *current;
static int log_pages, copied_pages;

static void check(bool good, const char *what)
{
    if (!good)
        fail("ceiling: %s: %s", what, sqlite3_errmsg(handle));
}

static int after_commit(void *arg, sqlite3 *database, const char *name, int pages)
{
    (void)arg, (void)database, (void)name;
    if (pages < log_pages)
        copied_pages = 0;
    log_pages = pages;
    return SQLITE_OK;
}

void store_open(const char *where)
{
    check(sqlite3_open_v2(where, &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK, where);
    store_script("PRAGMA journal_mode = WAL");
    store_script(SQLITE_PRAGMAS);
    sqlite3_wal_hook(handle, after_commit, NULL);
}

void store_script(const char *sql)
{
    check(sqlite3_exec(handle, sql, NULL, NULL, NULL) == SQLITE_OK, sql);
}

static sqlite3_stmt *prepare(const char *sql)
{
    sqlite3_stmt *statement;

    check(sqlite3_prepare_v3(handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) == SQLITE_OK, sql);
    return statement;
}

void store_prepare(void)
{
    begin = prepare("BEGIN IMMEDIATE");
    commit = prepare("COMMIT");
    for (int i = 0; i < STATEMENTS; i++) {
        const char *rows = strstr(texts[i].sql, ":rows:");
        char sql[4096];
        int length = 0;

        if (rows) {
            length = snprintf(sql, sizeof sql, "%.*sVALUES (", (int)(rows - texts[i].sql), texts[i].sql);
            for (size_t column = 1; column <= strlen(texts[i].types); column++)
                length += snprintf(sql + length, sizeof sql - (size_t)length, "%s?%zu", column > 1 ? ", " : "", column);
            snprintf(sql + length, sizeof sql - (size_t)length, ")%s", rows + strlen(":rows:"));
        }
        prepared[i] = prepare(rows ? sql : texts[i].sql);
    }
}

static void run_once(sqlite3_stmt *statement)
{
    check(sqlite3_step(statement) == SQLITE_DONE, "transaction");
    sqlite3_reset(statement);
}

void store_begin(void)
{
    run_once(begin);
}

void store_commit(void)
{
    run_once(commit);
    if ((int64_t)(log_pages - copied_pages) * PAGE_BYTES >= LIMIT_CHECKPOINT_BYTES) {
        copied_pages = log_pages;
        check(sqlite3_wal_checkpoint_v2(handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL) == SQLITE_OK, "copying");
    }
}

static void finish(enum statement statement)
{
    int code;

    current = prepared[statement];
    while ((code = sqlite3_step(current)) == SQLITE_ROW)
        if (texts[statement].row)
            texts[statement].row();
    check(code == SQLITE_DONE, texts[statement].sql);
    sqlite3_reset(current);
}

void store_row(enum statement statement, ...)
{
    const char *types = texts[statement].types;
    va_list values;

    va_start(values, statement);
    for (int at = 1; types[at - 1]; at++) {
        if (types[at - 1] == 'i') {
            int64_t number = va_arg(values, int64_t);

            if (number == NOTHING)
                sqlite3_bind_null(prepared[statement], at);
            else
                sqlite3_bind_int64(prepared[statement], at, number);
        } else {
            sqlite3_bind_text(prepared[statement], at, va_arg(values, const char *), -1, SQLITE_STATIC);
        }
    }
    va_end(values);
    finish(statement);
}

void store_run(enum statement statement)
{
    (void)statement;
}

int64_t store_int(int column)
{
    return sqlite3_column_int64(current, column);
}

const char *store_text(int column)
{
    return (const char *)sqlite3_column_text(current, column);
}
