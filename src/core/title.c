#include "core/title.h"

#include "base/clock.h"
#include "core/event.h"

int title_set(struct db_session *tx, const struct conversation *of, struct str title, struct err *err)
{
    int64_t now_ms = clock_ms();
    int64_t changed = db_exec(tx,
        "UPDATE conversations SET title = NULLIF($1, ''), updated_ms = $2 WHERE tenant_id = $3 AND id = $4",
        DB_ARGS(db_text(title), db_int(now_ms), db_int(of->tenant_id), db_int(of->id)), err);

    if (changed == 1)
        event_add(tx, &(struct event){ .tenant_id = of->tenant_id, .kind = "conversation.updated", .object_id = of->id,
                                       .conversation_id = of->id, .at_ms = now_ms });
    return (int)changed;
}
