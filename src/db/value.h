/* value.h - what goes into a statement's parameters. Part of db.h. */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum db_type { DB_INT = 'i', DB_REAL = 'r', DB_TEXT = 't', DB_BLOB = 'b' };

struct db_value {
    enum db_type type;
    bool is_null;
    int64_t number;
    double real;
    struct str text;    /* DB_TEXT (valid UTF-8 without NUL) and DB_BLOB; kept by the caller until the call returns */
};

/* A value of each kind. Texts stay the caller's. */
struct db_value db_int(int64_t number);
struct db_value db_id(int64_t id);              /* 0 becomes NULL */
struct db_value db_real(double real);
struct db_value db_text(struct str text);       /* the absent slice becomes NULL */
struct db_value db_cstr(const char *text);      /* NULL becomes NULL */
struct db_value db_blob(struct str bytes);

/* DB_ARGS(db_int(1), db_cstr("x")) gives the two arguments "values, count"; DB_NO_ARGS none. */
#define DB_ARGS(...) (const struct db_value[]){ __VA_ARGS__ }, \
    (sizeof((const struct db_value[]){ __VA_ARGS__ }) / sizeof(struct db_value))
#define DB_NO_ARGS NULL, 0
