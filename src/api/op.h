/* op.h - operations: one thing the API can do, declared once. Route, authorisation, input checks and their texts,
 * OpenAPI, CLI verb and (where marked) MCP tool are views of the row. Nothing else registers a route.
 *
 * * Each src/api/ops/<resource>.c defines `const struct op_table ops_<resource>` with its rows. */
#pragma once

#include "base/field.h"
#include "base/json.h"
#include "core/hub.h"
#include "core/key.h"
#include "net/server.h"

struct api;
struct idempotency;
struct op_call;
struct route;

enum op_done { OP_FAILED = -1, OP_DONE = 0, OP_LATER = 1 };

enum {
    OP_CREATES = 1,         /* takes Idempotency-Key; answers 201 */
    OP_MCP = 2,             /* offered as an MCP tool (issue 4) */
    OP_LIST = 4,            /* answers {"items":[...],"next":cursor|null}; `answer` describes one item */
    OP_STREAM = 8,          /* answers an event stream or a WebSocket */
    OP_EMPTY = 16,          /* answers 204 */
    OP_ACCEPTED = 32,       /* answers 202 */
    OP_OPEN = 64,           /* no key needed */
    OP_ALIAS = 128,         /* an older path of the same operation: hidden from the CLI, marked deprecated in OpenAPI */
    OP_TENANT_ANY = 256,    /* an operator's operation across tenants (tenant 1's admin keys and the socket) */
    OP_RAW = 512,           /* the body is not read: run looks at call->request; unknown query parameters pass */
    OP_LARGE = 1024,        /* the body may have LIMIT_BATCH_BYTES instead of LIMIT_JSON_BYTES */
    OP_SECRET = 2048,       /* the answer shows a secret once: its idempotent copy is stored sealed */
    OP_GROUPED = 4096,      /* run hands call->idempotency to a grouped write; nothing is looked up before */
    OP_UPLOAD = 8192,       /* the body is a file, up to LIMIT_UPLOAD_BYTES; fields come from path and query only */
    OP_FILE = 16384         /* answers a file */
};

/* A further way in which an operation succeeds. */
struct op_answer {
    int status;                         /* 204: no body */
    const char *summary;                /* when it is given, one sentence */
    const struct field *shape;          /* NULL: as the operation's own answer */
};

struct op {
    const char *name;                   /* "message.send" */
    enum http_method method;
    const char *path;                   /* "/api/v1/messages/{id}/read"; a last part "{name...}" takes the rest */
    unsigned scope;                     /* enum scope; one bit; with OP_OPEN none */
    const char *summary;                /* one sentence */
    const struct field *fields;         /* input; those of the path FIELD_PATH; on GET all others are the query */
    enum op_done (*run)(struct op_call *call, struct err *err);
    unsigned flags;
    const struct column *answer;        /* columns of the answered object (or item); NULL: see `shape` */
    const struct field *shape;          /* further (or all) members of the answer, for OpenAPI */
    const struct op_answer *also;       /* ends with status 0; NULL: it succeeds in one way only */
    const struct field *around;         /* OP_LIST: members of the answer beside items and next; NULL: none */
    const char *cli;                    /* verb: "send", "messages", "channels add"; NULL: none */
    const char *cli_args;               /* fields taken as positional arguments in order: "to text" */
    const char *cli_columns;            /* "id,from,text,state" of the table printed */
    const char *example;                /* one copyable CLI example without the program name */
};

struct op_table {
    const char *resource;               /* "messages" */
    const struct op *ops;
    size_t count;
};

/* All tables, generated from the files in src/api/ops; ends with NULL. */
extern const struct op_table *const op_tables[];

/* One call. Lives in the request's arena until the answer has left. `response.status` and `out` are ready when run is
 * called; an ordinary operation writes its answer and returns OP_DONE. */
struct op_call {
    struct hub *hub;
    struct api *api;
    const struct op *op;
    const struct route *route;          /* the framework's */
    struct arena *arena;
    struct key key;                     /* who asks; id 0: the socket's owner, with SCOPE_ALL */
    int64_t tenant_id;
    struct fields in;                   /* checked; by field_get and the like */
    struct http_request *request;
    struct http_exchange *exchange;     /* OP_LATER, OP_STREAM */
    struct http_response response;
    struct json_writer out;             /* writes into response.body */
    struct idempotency *idempotency;    /* set when the header was given on a POST */
    const char *actor;                  /* for the audit: "key_...", "uid:0" */
    const char *object;                 /* for the audit: public id of what is changed; before op_write or in apply */
    void *later;                        /* the operation's own, while the answer waits */
    enum op_done (*resume)(struct op_call *call, struct err *err);      /* op_slow's */
};

/* Runs an ordinary write: `apply` inside the transaction, then `render` into call->out, then the idempotency row
 * with that answer and an audit line named after the operation (its object: call->object, else the path's id), all
 * in one commit. `render` may be NULL (204). Draw ids before: `apply` and `render` may run more than once. */
typedef int op_render(struct op_call *call, void *arg, struct err *err);
enum op_done op_write(struct op_call *call, db_tx *apply, op_render *render, void *arg, struct err *err);

/* Answer later: end a call whose run returned OP_LATER, from any thread. `err` NULL: the response is sent as it is.
 * The call is gone afterwards. */
void op_finish(struct op_call *call, const struct err *err);

/* Continue a call whose run returned OP_LATER on a worker thread, where it may block: `run` ends it as an
 * operation's run does. From any thread. */
void op_slow(struct op_call *call, enum op_done (*run)(struct op_call *call, struct err *err));

/* Render the answer of a grouped write into `idempotency` (call->idempotency, which may be NULL) before it is
 * submitted; and repeat the stored answer when the group says that the name was known (may block: by op_slow). */
void op_remember(struct op_call *call);
enum op_done op_replay(struct op_call *call, struct err *err);

/* "No such message.", the same for ids of other tenants and ids that never were. Every 404 of a path id becomes
 * this. */
int op_not_found(const struct op_call *call, struct err *err);

/* Lists: `items` array is opened by op_list_begin; op_list_end closes it and writes "next". Cursors are opaque
 * texts that hold `key` (any integers the query continues from, at most OP_LIST_KEYS) and are bound to tenant and
 * operation by a MAC. op_list_cursor fills `key` when the call gave one; ERR_INVALID for any text that is not such
 * a cursor. */
#define OP_LIST_KEYS 4
void op_list_begin(struct op_call *call);
void op_list_end(struct op_call *call, const int64_t *next_key, size_t key_count);      /* count 0: no more */
int op_list_cursor(struct op_call *call, int64_t *key, size_t key_count, bool *given, struct err *err);
int op_list_limit(struct op_call *call);
/* The two fields every list takes; put them into its table. */
#define OP_LIST_FIELDS \
    { "limit", FIELD_INT, FIELD_QUERY, "How many at most.", 1, LIMIT_PAGE_MAX, NULL, "50", NULL, NULL }, \
    { "cursor", FIELD_TEXT, FIELD_QUERY, "Continue after an earlier answer's `next`.", 1, 500, NULL, NULL, NULL, NULL }
