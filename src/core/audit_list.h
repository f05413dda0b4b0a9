/* audit_list.h - reading the audit. */
#pragma once

#include "core/page.h"
#include "db/row.h"

struct audit_row {
    int64_t id, tenant_id, at_ms;
    struct str actor, action, object, detail, peer, request_id;
};
extern const struct column audit_columns[];

/* What to show; absent texts do not filter. */
struct audit_filter {
    struct page page;           /* after_id: continue below this id; 0: the newest */
    struct str actor, action, object;
    int64_t since_ms, until_ms; /* 0: no bound */
};

/* A page, newest first: the number of rows in `*out` (the page's arena), -1 failed. */
int audit_list(struct db_session *session, const struct audit_filter *filter, struct audit_row **out, struct err *err);
