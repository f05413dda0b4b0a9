/* The prepared statements of a session. A statement is found by the address of its text first and by the text itself
 * second; the address is only a guess, so texts built in an arena are safe. */
#include "db/session.h"

#include <stdlib.h>
#include <string.h>

static size_t address_slot(const char *sql)
{
    uint64_t address = (uint64_t)(uintptr_t)sql * UINT64_C(0x9e3779b97f4a7c15);

    return (size_t)(address >> 56) % STATEMENT_BUCKETS;
}

static uint64_t text_hash(const char *text)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    size_t len = strlen(text);

    while (len >= sizeof(uint64_t)) {
        uint64_t word;

        memcpy(&word, text, sizeof word);
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
        text += sizeof word;
        len -= sizeof word;
    }
    while (len--)
        hash = (hash ^ (unsigned char)*text++) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 32;
}

static bool fits(const struct statement *statement, const struct db_text *text)
{
    return !statement->busy && statement->set == text->set && !strcmp(statement->sql, text->sql)
        && !strcmp(statement->types, text->types);
}

static void forget(struct db_session *session, struct statement *statement, bool stays)
{
    struct statement **link = &session->statements.by_text[statement->hash % STATEMENT_BUCKETS];

    while (*link != statement)
        link = &(*link)->next;
    *link = statement->next;
    memset(session->statements.by_address, 0, sizeof session->statements.by_address);
    session->statements.count--;
    session->driver->finish(statement->prepared, stays);
    free(statement->sql);
    free(statement->types);
    free(statement);
}

static void make_room(struct db_session *session)
{
    struct statement *oldest = NULL;

    if (session->statements.count < LIMIT_STATEMENTS)
        return;
    for (size_t i = 0; i < STATEMENT_BUCKETS; i++)
        for (struct statement *s = session->statements.by_text[i]; s; s = s->next)
            if (!s->busy && (!oldest || s->used < oldest->used))
                oldest = s;
    if (oldest)
        forget(session, oldest, true);
}

static enum db_failure add(struct db_session *session, const struct db_text *text, struct statement **out,
                           struct err *err)
{
    struct db_statement *prepared;
    struct statement *statement;
    enum db_failure failure;

    if (strlen(text->sql) > LIMIT_SQL_BYTES) {
        err_set(err, ERR_INTERNAL, "a statement is longer than %d bytes", LIMIT_SQL_BYTES);
        return DB_FAIL_BUG;
    }
    make_room(session);
    failure = session->driver->prepare(session->connection, text, &prepared, err);
    if (failure != DB_OK)
        return failure;
    statement = mem_alloc(sizeof *statement);
    statement->hash = text_hash(text->sql);
    statement->sql = mem_strdup(text->sql);
    statement->types = mem_strdup(text->types);
    statement->set = text->set;
    statement->prepared = prepared;
    statement->next = session->statements.by_text[statement->hash % STATEMENT_BUCKETS];
    session->statements.by_text[statement->hash % STATEMENT_BUCKETS] = statement;
    session->statements.count++;
    *out = statement;
    return DB_OK;
}

enum db_failure statement_get(struct db_session *session, const struct db_text *text, struct statement **out,
                              struct err *err)
{
    struct statements *cache = &session->statements;
    size_t slot = address_slot(text->sql);
    struct statement *found = cache->by_address[slot];

    if (!found || !fits(found, text)) {
        uint64_t hash = text_hash(text->sql);

        found = cache->by_text[hash % STATEMENT_BUCKETS];
        while (found && (found->hash != hash || !fits(found, text)))
            found = found->next;
        if (!found) {
            enum db_failure failure = add(session, text, &found, err);

            if (failure != DB_OK)
                return failure;
        }
        cache->by_address[slot] = found;
    }
    found->used = ++cache->clock;
    *out = found;
    return DB_OK;
}

void statement_clear(struct db_session *session)
{
    for (size_t i = 0; i < STATEMENT_BUCKETS; i++)
        while (session->statements.by_text[i])
            forget(session, session->statements.by_text[i], false);
}
