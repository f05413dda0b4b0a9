/* PostgreSQL's binary format: everything big-endian. */
#include "db/postgres_values.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

/* Type numbers are part of PostgreSQL's wire contract (pg_type.dat). */
enum {
    PG_BOOL = 16, PG_BYTEA = 17, PG_CHAR = 18, PG_NAME = 19, PG_INT8 = 20, PG_INT2 = 21, PG_INT4 = 23, PG_TEXT = 25,
    PG_OID = 26, PG_FLOAT4 = 700, PG_FLOAT8 = 701, PG_UNKNOWN = 705, PG_BPCHAR = 1042, PG_VARCHAR = 1043,
    PG_NUMERIC = 1700, PG_VOID = 2278,
    PG_BYTEA_ARRAY = 1001, PG_TEXT_ARRAY = 1009, PG_INT8_ARRAY = 1016, PG_FLOAT8_ARRAY = 1022
};

#define NUMERIC_NEGATIVE 0x4000
#define NUMERIC_HEADER 8

/* --- Writing ------------------------------------------------------------------------------------------------------ */

unsigned pg_type(char letter, bool array)
{
    switch (letter) {
    case DB_INT:
        return array ? PG_INT8_ARRAY : PG_INT8;
    case DB_REAL:
        return array ? PG_FLOAT8_ARRAY : PG_FLOAT8;
    case DB_BLOB:
        return array ? PG_BYTEA_ARRAY : PG_BYTEA;
    default:
        return array ? PG_TEXT_ARRAY : PG_TEXT;
    }
}

static void put32(char *at, uint32_t number)
{
    number = htobe32(number);
    memcpy(at, &number, sizeof number);
}

/* The eight bytes of an integer or real. */
static void put_number(char *at, const struct db_value *value)
{
    uint64_t bits = (uint64_t)value->number;

    if (value->type == DB_REAL)
        memcpy(&bits, &value->real, sizeof bits);
    bits = htobe64(bits);
    memcpy(at, &bits, sizeof bits);
}

static bool is_number(char type)
{
    return type == DB_INT || type == DB_REAL;
}

void pg_pack(struct pg_values *out, const struct db_value *values, size_t count)
{
    assert(count <= LIMIT_SQL_VALUES);
    for (size_t i = 0; i < count; i++) {
        out->formats[i] = 1;
        out->lengths[i] = 0;
        if (values[i].is_null) {
            out->values[i] = NULL;
        } else if (is_number((char)values[i].type)) {
            put_number(out->numbers[i], &values[i]);
            out->values[i] = out->numbers[i];
            out->lengths[i] = 8;
        } else {
            out->values[i] = values[i].text.data ? values[i].text.data : "";
            out->lengths[i] = (int)values[i].text.len;
        }
    }
}

/* One column as an array: dimensions, has-null, element type, length, lower bound; then length and bytes of each. */
static size_t put_array(char *out, char type, const struct db_value *values, size_t columns, size_t row_count)
{
    char *at = out + 20;
    bool has_null = false;

    for (size_t row = 0; row < row_count; row++) {
        const struct db_value *value = &values[row * columns];

        assert((char)value->type == type);
        if (value->is_null) {
            has_null = true;
            put32(at, UINT32_MAX);
            at += 4;
        } else if (is_number(type)) {
            put32(at, 8);
            put_number(at + 4, value);
            at += 12;
        } else {
            put32(at, (uint32_t)value->text.len);
            if (value->text.len)
                memcpy(at + 4, value->text.data, value->text.len);
            at += 4 + value->text.len;
        }
    }
    put32(out, 1);
    put32(out + 4, has_null);
    put32(out + 8, pg_type(type, false));
    put32(out + 12, (uint32_t)row_count);
    put32(out + 16, 1);
    return (size_t)(at - out);
}

static void put_empty_array(char *out, char type)
{
    put32(out, 0);
    put32(out + 4, 0);
    put32(out + 8, pg_type(type, false));
}

static size_t array_bytes(char type, const struct db_value *values, size_t columns, size_t row_count)
{
    size_t bytes = 20 + row_count * 4;

    if (is_number(type))
        return bytes + row_count * 8;
    for (size_t row = 0; row < row_count; row++)
        if (!values[row * columns].is_null)
            bytes += values[row * columns].text.len;
    return bytes;
}

bool pg_pack_set(struct pg_values *out, struct buf *arrays, const char *types, const struct db_value *values,
                 size_t row_count)
{
    size_t columns = strlen(types), at = 0, starts[LIMIT_SQL_VALUES];

    assert(columns <= LIMIT_SQL_VALUES);
    buf_clear(arrays);
    for (size_t i = 0; i < columns; i++) {
        char *room = buf_room(arrays, array_bytes(types[i], values + i, columns, row_count));

        if (!room)
            return false;
        starts[i] = at;
        out->lengths[i] = 12;
        if (row_count)
            out->lengths[i] = (int)put_array(room, types[i], values + i, columns, row_count);
        else
            put_empty_array(room, types[i]);
        out->formats[i] = 1;
        buf_added(arrays, (size_t)out->lengths[i]);
        at += (size_t)out->lengths[i];
    }
    for (size_t i = 0; i < columns; i++)
        out->values[i] = arrays->data + starts[i];
    return true;
}

char *pg_set_text(const char *sql, size_t columns)
{
    struct buf out;

    buf_init(&out, 2 * LIMIT_SQL_BYTES);
    for (const char *rest = sql; *rest;) {
        const char *rows = strstr(rest, ":rows:");

        buf_add(&out, rest, rows ? (size_t)(rows - rest) : strlen(rest));
        if (!rows)
            break;
        buf_puts(&out, "SELECT * FROM unnest(");
        for (size_t i = 1; i <= columns; i++)
            buf_printf(&out, "%s$%zu", i > 1 ? ", " : "", i);
        buf_putc(&out, ')');
        rest = rows + strlen(":rows:");
    }
    return buf_take(&out, NULL);
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

static uint16_t get16(const char *at)
{
    uint16_t number;

    memcpy(&number, at, sizeof number);
    return be16toh(number);
}

static uint32_t get32(const char *at)
{
    uint32_t number;

    memcpy(&number, at, sizeof number);
    return be32toh(number);
}

static uint64_t get64(const char *at)
{
    uint64_t number;

    memcpy(&number, at, sizeof number);
    return be64toh(number);
}

static bool is_text(unsigned type)
{
    return type == PG_TEXT || type == PG_VARCHAR || type == PG_BPCHAR || type == PG_NAME || type == PG_UNKNOWN;
}

bool pg_readable(unsigned type)
{
    switch (type) {
    case PG_BOOL:
    case PG_BYTEA:
    case PG_CHAR:
    case PG_INT8:
    case PG_INT2:
    case PG_INT4:
    case PG_OID:
    case PG_FLOAT4:
    case PG_FLOAT8:
    case PG_NUMERIC:
    case PG_VOID:
        return true;
    default:
        return is_text(type);
    }
}

/* numeric: count of base-10000 digits, weight of the first, sign, scale, digits. */
static double numeric(const char *data, size_t len, int64_t *whole)
{
    int count, weight;
    double real = 0, unit = 1;
    int64_t integer = 0;
    bool negative;

    *whole = 0;
    if (len < NUMERIC_HEADER)
        return 0;
    count = get16(data);
    weight = (int16_t)get16(data + 2);
    negative = get16(data + 4) == NUMERIC_NEGATIVE;
    if (len < NUMERIC_HEADER + (size_t)count * 2 || weight > 64 || weight < -64)
        return 0;
    for (int gap = weight + 1; gap < 0; gap++)
        unit /= 10000;
    for (int i = 0; i <= weight || i < count; i++) {
        int digit = i < count ? get16(data + NUMERIC_HEADER + i * 2) : 0;

        if (i > weight) {
            unit /= 10000;
            real += digit * unit;
            continue;
        }
        real = real * 10000 + digit;
        if (__builtin_mul_overflow(integer, 10000, &integer) || __builtin_add_overflow(integer, digit, &integer))
            integer = INT64_MAX;
    }
    *whole = negative ? -integer : integer;
    return negative ? -real : real;
}

static double float_of(unsigned type, const char *data, size_t len)
{
    double real = 0;
    float narrow;

    if (type == PG_FLOAT8 && len == 8) {
        uint64_t bits = get64(data);

        memcpy(&real, &bits, sizeof real);
    } else if (type == PG_FLOAT4 && len == 4) {
        uint32_t bits = get32(data);

        memcpy(&narrow, &bits, sizeof narrow);
        real = (double)narrow;
    }
    return real;
}

int64_t pg_int(unsigned type, const char *data, size_t len)
{
    int64_t whole;
    double real;

    if (type == PG_INT8 && len == 8)
        return (int64_t)get64(data);
    if (type == PG_INT4 && len == 4)
        return (int32_t)get32(data);
    if (type == PG_OID && len == 4)
        return get32(data);
    if (type == PG_INT2 && len == 2)
        return (int16_t)get16(data);
    if (type == PG_BOOL && len == 1)
        return data[0] != 0;
    if (type == PG_NUMERIC) {
        numeric(data, len, &whole);
        return whole;
    }
    if (is_text(type))
        return strtoll(data, NULL, 10);
    real = float_of(type, data, len);
    return real > -9.2e18 && real < 9.2e18 ? (int64_t)real : 0;
}

double pg_real(unsigned type, const char *data, size_t len)
{
    int64_t whole;

    if (type == PG_FLOAT8 || type == PG_FLOAT4)
        return float_of(type, data, len);
    if (type == PG_NUMERIC)
        return numeric(data, len, &whole);
    if (is_text(type))
        return strtod(data, NULL);
    return (double)pg_int(type, data, len);
}

struct str pg_text(unsigned type, const char *data, size_t len)
{
    return is_text(type) || type == PG_BYTEA ? (struct str){ data, len } : (struct str){ 0 };
}
