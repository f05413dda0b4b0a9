/* ceiling.h - a raw database under the ceiling's loop. One connection, prepared statements, no errors survived: what
 * fails ends the program. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum statement { LOOK_UP, TOUCH, CONTACTS, MESSAGES, CHANNELS, JOBS, TENANT, EVENTS, STATEMENTS };

/* The statement's text, with `:rows:` where the rows of a set stand; one letter per column: i integer, t text; and what
 * is called for each row that comes back (may be NULL). */
struct text {
    const char *sql, *types;
    void (*row)(void);
};
extern const struct text texts[STATEMENTS];

/* Connect to a database that has the hub's schema, and run one statement given as text. */
void store_open(const char *where);
void store_script(const char *sql);
void store_prepare(void);

void store_begin(void);
void store_commit(void);

/* Add one row to the statement's set: per type letter an int64_t or a const char *; a text NULL and the integer NOTHING
 * become NULL. Texts must live until store_run, which runs the statement if the database has not done so row by row. */
#define NOTHING INT64_MIN
void store_row(enum statement statement, ...);
void store_run(enum statement statement);

/* A column of the row that came back. */
int64_t store_int(int column);
const char *store_text(int column);
