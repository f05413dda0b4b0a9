/* PostgreSQL under the ceiling's loop: one statement over arrays per set, binary, prepared. BEGIN travels with the
 * first statement and the notification with COMMIT, as the hub sends them. */
#include "ceiling.h"
#include "measure.h"
#include "statements.h"

#include <endian.h>
#include <libpq-fe.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS_MAX 32
#define COLUMN_BYTES (64 * 1024)
#define HEADER_BYTES 20

enum { INT8 = 20, TEXT = 25, INT8_ARRAY = 1016, TEXT_ARRAY = 1009 };

/* One column of the set that is being gathered: an array in PostgreSQL's binary format, its header filled last. */
static struct {
    char bytes[COLUMN_BYTES];
    size_t length;
    bool has_null;
} columns[COLUMNS_MAX];

static PGconn *link_;
static PGresult *answer;
static int answer_row;
static uint32_t rows;
static char payload[64];

static void check(bool good, const char *what)
{
    if (!good)
        fail("ceiling: %s: %s", what, PQerrorMessage(link_));
}

/* Read the answers up to the next sync; the last one with rows is kept. */
static void settle(void)
{
    bool synced = false;

    PQclear(answer);
    answer = NULL;
    check(PQpipelineSync(link_), "pipeline");
    while (!synced) {
        PGresult *result = PQgetResult(link_);
        ExecStatusType status = PQresultStatus(result);

        check(PQstatus(link_) == CONNECTION_OK, "link");
        if (!result)
            continue;
        synced = status == PGRES_PIPELINE_SYNC;
        check(synced || status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK, PQresultErrorMessage(result));
        if (status == PGRES_TUPLES_OK) {
            PQclear(answer);
            answer = result;
        } else {
            PQclear(result);
        }
    }
}

static void send(const char *sql)
{
    check(PQsendQueryParams(link_, sql, 0, NULL, NULL, NULL, NULL, 1), sql);
}

void store_open(const char *where)
{
    link_ = PQconnectdb(where);
    check(PQstatus(link_) == CONNECTION_OK, where);
    check(PQenterPipelineMode(link_), "pipeline");
    store_script("SELECT set_config('hub.tenant', '*', false), set_config('jit', 'off', false),"
                 " set_config('plan_cache_mode', 'force_custom_plan', false)");
}

void store_script(const char *sql)
{
    send(sql);
    settle();
}

void store_prepare(void)
{
    for (int i = 0; i < STATEMENTS; i++) {
        const char *set = strstr(texts[i].sql, ":rows:");
        Oid types[COLUMNS_MAX];
        char sql[4096], name[2] = { (char)('a' + i) };
        int count = (int)strlen(texts[i].types), length = 0;

        for (int column = 0; column < count; column++) {
            bool number = texts[i].types[column] == 'i';

            types[column] = set ? (number ? INT8_ARRAY : TEXT_ARRAY) : number ? INT8 : TEXT;
        }
        if (set) {
            length = snprintf(sql, sizeof sql, "%.*sSELECT * FROM unnest(", (int)(set - texts[i].sql), texts[i].sql);
            for (int column = 1; column <= count; column++)
                length += snprintf(sql + length, sizeof sql - (size_t)length, "%s$%d", column > 1 ? ", " : "", column);
            snprintf(sql + length, sizeof sql - (size_t)length, ")%s", set + strlen(":rows:"));
        }
        check(PQsendPrepare(link_, name, set ? sql : texts[i].sql, count, types), texts[i].sql);
        settle();
    }
}

void store_begin(void)
{
    send("BEGIN");
}

void store_commit(void)
{
    const char *const values[] = { "events", payload };

    check(PQsendQueryParams(link_, SQL_NOTIFY, 2, NULL, values, NULL, NULL, 1), SQL_NOTIFY);
    send("COMMIT");
    settle();
}

/* --- Sets --------------------------------------------------------------------------------------------------------- */

static void put32(char *at, uint32_t number)
{
    number = htobe32(number);
    memcpy(at, &number, sizeof number);
}

static void put(size_t column, const void *bytes, size_t length)
{
    char *at = columns[column].bytes + columns[column].length;

    if (columns[column].length + 4 + length > COLUMN_BYTES)
        fail("ceiling: a column does not fit");
    put32(at, bytes ? (uint32_t)length : UINT32_MAX);
    if (bytes)
        memcpy(at + 4, bytes, length);
    columns[column].has_null |= !bytes;
    columns[column].length += 4 + length;
}

void store_row(enum statement statement, ...)
{
    const char *types = texts[statement].types;
    va_list values;

    va_start(values, statement);
    for (size_t column = 0; types[column]; column++) {
        if (!rows) {
            columns[column].length = HEADER_BYTES;
            columns[column].has_null = false;
        }
        if (types[column] == 'i') {
            int64_t number = va_arg(values, int64_t);
            uint64_t bytes = htobe64((uint64_t)number);

            put(column, number == NOTHING ? NULL : &bytes, number == NOTHING ? 0 : sizeof bytes);
        } else {
            const char *text = va_arg(values, const char *);

            put(column, text, text ? strlen(text) : 0);
        }
    }
    va_end(values);
    rows++;
}

static void finish_array(size_t column, bool number)
{
    char *bytes = columns[column].bytes;

    put32(bytes, 1);
    put32(bytes + 4, columns[column].has_null);
    put32(bytes + 8, number ? INT8 : TEXT);
    put32(bytes + 12, rows);
    put32(bytes + 16, 1);
}

void store_run(enum statement statement)
{
    const char *types = texts[statement].types, *values[COLUMNS_MAX], name[2] = { (char)('a' + statement) };
    int lengths[COLUMNS_MAX], formats[COLUMNS_MAX], count = (int)strlen(types);
    bool set = strstr(texts[statement].sql, ":rows:") != NULL;

    for (int i = 0; i < count; i++) {
        size_t skipped = set ? 0 : HEADER_BYTES + 4;        /* a single value stands in its array already */

        finish_array((size_t)i, types[i] == 'i');
        values[i] = columns[i].bytes + skipped;
        lengths[i] = (int)(columns[i].length - skipped);
        formats[i] = 1;
    }
    rows = 0;
    check(PQsendQueryPrepared(link_, name, count, values, lengths, formats, 1), texts[statement].sql);
    settle();
    if (texts[statement].row)
        for (answer_row = 0; answer_row < PQntuples(answer); answer_row++)
            texts[statement].row();
    if (statement == TENANT)
        snprintf(payload, sizeof payload, "1:%lld", (long long)(answer_row = 0, store_int(0)));
}

int64_t store_int(int column)
{
    uint64_t bytes = 0;

    if (PQgetlength(answer, answer_row, column) == (int)sizeof bytes)
        memcpy(&bytes, PQgetvalue(answer, answer_row, column), sizeof bytes);
    return (int64_t)be64toh(bytes);
}

const char *store_text(int column)
{
    return PQgetvalue(answer, answer_row, column);
}
