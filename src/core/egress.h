/* egress.h - the operator's egress_allow rows: which private networks a tenant's channels may reach (DESIGN.md 8). */
#pragma once

#include "core/hub.h"
#include "db/row.h"

#include <netinet/in.h>

struct egress_row {
    int64_t id, tenant_id, port, created_ms;    /* tenant 0: every tenant; port 0: every port */
    struct str network;                         /* CIDR: "192.168.1.0/24", "::1/128" */
};
extern const struct column egress_columns[];

/* Check a CIDR (or a bare address, which becomes /32 or /128) and write its canonical form into the arena. */
int egress_network(struct arena *arena, struct str text, struct str *out, struct err *err);

/* Inside a write transaction; call egress_changed after its commit. egress_remove: 1 done, 0 unknown, -1 failed. */
int egress_add(struct db_session *tx, const struct egress_row *row, struct err *err);
int egress_remove(struct db_session *tx, int64_t id, struct err *err);
void egress_changed(void);

/* All rows that count for a tenant (0: all), oldest first; returns the number, -1 failed. */
int egress_list(struct db_session *session, struct arena *arena, int64_t tenant_id, struct egress_row **out,
                struct err *err);

/* The client_allows of net/client.h; `arg` is struct hub *. Rows are cached for a second. A database that does not
 * answer allows nothing. */
bool egress_allows(void *arg, int64_t tenant_id, const struct in6_addr *address, int port);
