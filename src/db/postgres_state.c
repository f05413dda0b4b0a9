#include "db/postgres_state.h"

#include <string.h>

enum db_failure pg_failure(const char *state)
{
    static const struct {
        const char *prefix;
        enum db_failure failure;
    } states[] = {
        { "53100", DB_FAIL_FULL },      /* disk full */
        { "08P01", DB_FAIL_BUG },       /* wrong number of parameters */
        { "08", DB_FAIL_RETRY },        /* connection */
        { PG_READ_ONLY, DB_FAIL_RETRY },   /* a standby, until the primary is found again */
        { "25P03", DB_FAIL_RETRY },     /* idle in transaction for too long */
        { "40", DB_FAIL_RETRY },        /* deadlock, serialisation */
        { "53", DB_FAIL_RETRY },        /* out of memory, connections */
        { "55P03", DB_FAIL_RETRY },     /* lock timeout */
        { "57", DB_FAIL_RETRY },        /* shutdown, statement timeout */
        { "58", DB_FAIL_RETRY },        /* the server's system failed */
        { "21", DB_FAIL_DATA },         /* one row twice in a set */
        { "22", DB_FAIL_DATA },         /* bad value */
        { "23", DB_FAIL_DATA },         /* constraint */
        { "44", DB_FAIL_DATA },         /* check option of a view */
        { "54000", DB_FAIL_DATA },      /* value too large for an index */
    };

    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        if (!strncmp(state, states[i].prefix, strlen(states[i].prefix)))
            return states[i].failure;
    return DB_FAIL_BUG;
}
