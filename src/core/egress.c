#include "core/egress.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define ROWS_MAX 1000
#define CACHE_US 1000000

const struct column egress_columns[] = {
    { "id", COL_REF, offsetof(struct egress_row, id), COL_PUBLIC, ID_EGRESS, NULL, NULL },
    { "tenant_id", COL_INT, offsetof(struct egress_row, tenant_id), 0, NULL, NULL, NULL },
    { "network", COL_TEXT, offsetof(struct egress_row, network), COL_PUBLIC, NULL, NULL, NULL },
    { "port", COL_INT, offsetof(struct egress_row, port), COL_PUBLIC, NULL, NULL, NULL },
    { "created_ms", COL_TIME, offsetof(struct egress_row, created_ms), COL_PUBLIC, NULL, NULL, "created_at" },
    { 0 }
};

/* An allowed network in the form addresses are compared in: IPv4 as ::ffff:a.b.c.d. */
struct network {
    int64_t tenant_id;
    int port, bits;
    struct in6_addr address;
};

static struct {
    pthread_mutex_t lock;
    int64_t read_us;            /* 0: never, or changed since */
    size_t count;
    struct network rows[ROWS_MAX];
} cache = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool network_parse(struct str text, struct network *out)
{
    char address[64];
    struct in_addr four;
    struct str rest = text, head;
    int64_t bits;
    int most = 128;

    if (!str_split(&rest, '/', &head) || head.len >= sizeof address)
        return false;
    memcpy(address, head.data, head.len);
    address[head.len] = '\0';
    memset(&out->address, 0, sizeof out->address);
    if (inet_pton(AF_INET, address, &four) == 1) {
        out->address.s6_addr[10] = out->address.s6_addr[11] = 0xff;
        memcpy(out->address.s6_addr + 12, &four, 4);
        most = 32;
    } else if (inet_pton(AF_INET6, address, &out->address) != 1) {
        return false;
    }
    bits = most;
    if (rest.data && !str_int(rest, 0, most, &bits))
        return false;
    out->bits = (int)bits + 128 - most;
    for (int bit = out->bits; bit < 128; bit++)
        out->address.s6_addr[bit / 8] &= (unsigned char)~(0x80 >> (bit % 8));
    return true;
}

int egress_network(struct arena *arena, struct str text, struct str *out, struct err *err)
{
    struct network network;
    char address[INET6_ADDRSTRLEN];
    bool four;

    if (!network_parse(str_trim(text), &network)) {
        err_field(err, "network", "\"%.*s\" is not a network.", STR_FMT(text));
        return err_hint(err, "Write an address or CIDR, for example 192.168.1.20 or 10.0.0.0/8.");
    }
    four = network.bits >= 96 && IN6_IS_ADDR_V4MAPPED(&network.address);
    if (four)
        inet_ntop(AF_INET, network.address.s6_addr + 12, address, sizeof address);
    else
        inet_ntop(AF_INET6, &network.address, address, sizeof address);
    *out = str_c(arena_printf(arena, "%s/%d", address, four ? network.bits - 96 : network.bits));
    return 0;
}

int egress_add(struct db_session *tx, const struct egress_row *row, struct err *err)
{
    return db_exec(
               tx, "INSERT INTO egress_allow (id, tenant_id, network, port, created_ms) VALUES ($1, $2, $3, $4, $5)",
               DB_ARGS(db_int(row->id), db_int(row->tenant_id), db_text(row->network), db_int(row->port),
                       db_int(row->created_ms)),
               err) < 0
               ? -1
               : 0;
}

int egress_remove(struct db_session *tx, int64_t id, struct err *err)
{
    return (int)db_exec(tx, "DELETE FROM egress_allow WHERE id = $1", DB_ARGS(db_int(id)), err);
}

void egress_changed(void)
{
    pthread_mutex_lock(&cache.lock);
    cache.read_us = 0;
    pthread_mutex_unlock(&cache.lock);
}

int egress_list(struct db_session *session, struct arena *arena, int64_t tenant_id, struct egress_row **out,
                struct err *err)
{
    const char *sql = arena_printf(arena, "SELECT %s FROM egress_allow WHERE $1 = 0 OR tenant_id = $1 OR tenant_id = 0"
                                          " ORDER BY id LIMIT $2", row_select(egress_columns, NULL));
    struct db_rows *rows = db_query(session, sql, DB_ARGS(db_int(tenant_id), db_int(ROWS_MAX)), err);
    int count = 0, more = -1;

    *out = arena_array(arena, ROWS_MAX, sizeof **out);
    while (rows && (more = db_next(rows, err)) == 1)
        row_read(rows, 0, egress_columns, arena, &(*out)[count++]);
    return more < 0 ? -1 : count;
}

/* With the lock held. */
static void cache_fill(struct hub *hub)
{
    struct arena *arena = arena_new(0);
    struct db_session *session = db_read(hub->db, 0, NULL);
    struct egress_row *rows;
    int count = session ? egress_list(session, arena, 0, &rows, NULL) : -1;

    cache.count = 0;
    for (int i = 0; i < count; i++) {
        struct network *network = &cache.rows[cache.count];

        network->tenant_id = rows[i].tenant_id;
        network->port = (int)rows[i].port;
        cache.count += network_parse(rows[i].network, network);
    }
    cache.read_us = count < 0 ? 0 : clock_mono_us();
    if (session)
        db_read_end(session);
    arena_free(arena);
}

static bool inside(const struct network *network, const struct in6_addr *address)
{
    for (int bit = 0; bit < network->bits; bit += 8) {
        int left = network->bits - bit;
        unsigned char mask = left >= 8 ? 0xff : (unsigned char)(0xff << (8 - left));

        if ((address->s6_addr[bit / 8] & mask) != (network->address.s6_addr[bit / 8] & mask))
            return false;
    }
    return true;
}

bool egress_allows(void *arg, int64_t tenant_id, const struct in6_addr *address, int port)
{
    bool allowed = false;

    pthread_mutex_lock(&cache.lock);
    if (!cache.read_us || clock_mono_us() - cache.read_us > CACHE_US)
        cache_fill(arg);
    for (size_t i = 0; i < cache.count && !allowed; i++)
        allowed = (!cache.rows[i].tenant_id || cache.rows[i].tenant_id == tenant_id)
            && (!cache.rows[i].port || cache.rows[i].port == port) && inside(&cache.rows[i], address);
    pthread_mutex_unlock(&cache.lock);
    return allowed;
}
