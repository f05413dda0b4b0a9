/* hub.h - what is opened once and handed to whoever needs it. Filled by cli/serve (and by tests); core functions
 * take the parts they use, ops and workers take this. */
#pragma once

#include "base/sign.h"
#include "core/ids.h"
#include "core/wake.h"
#include "db/db.h"
#include "net/exchange.h"

struct config;
struct recent;

struct hub {
    struct db *db;
    struct ids *ids;
    struct wake *wake;
    struct exchange *exchange;                      /* the way out */
    const struct config *config;
    unsigned char seal_key[SIGN_KEY_BYTES];         /* for secrets in rows */
    unsigned char token_key[SIGN_KEY_BYTES];        /* HMAC of API keys */
    unsigned char cursor_key[SIGN_KEY_BYTES];       /* MAC of page cursors */
    unsigned char media_key[SIGN_KEY_BYTES];        /* MAC of public links to files */
    unsigned char log_key[SIGN_KEY_BYTES];          /* HMAC of personal fields, for log_start */
    struct recent *recent;                          /* keys and tenants that were valid a moment ago */
    char link[64];                                  /* first start: the one-time admin key to print, else "" */
    char node[40];                                  /* this process, in leases */
    int64_t epoch;
    int64_t started_ms;
    int manual;                                     /* 1: no worker threads; tests call the steps */
};

/* Open database, run migrations, master key, ids, event hooks; create tenant 1 ("default") and its sandbox channel
 * on an empty database. `hub` is zeroed by the caller and gets `config`, `exchange` and `manual` before. */
int hub_open(struct hub *hub, struct err *err);
void hub_close(struct hub *hub);
