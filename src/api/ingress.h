/* ingress.h - provider webhooks: /hooks/<hook>[/...]. Find the channel, hand the raw bytes to its driver, store
 * what came of them with the next group, and answer only after the commit. Unknown hook 404; disabled channel or
 * suspended tenant 503 (the provider repeats); wrong signature 403 and no row; signed but not understood: parked
 * and 2xx; a fault of ours 503 with Retry-After. */
#pragma once

#include "api/op.h"

/* The run of the hook operations (fields "hook" and "path", OP_RAW). */
enum op_done ingress_receive(struct op_call *call, struct err *err);

/* The run of the operation for paths that the channels of a kind share (field "alias"): the channel that the request
 * names and whose secret it is signed with. 404 when none claims it, 403 when none of those that do accepts it. */
enum op_done ingress_receive_shared(struct op_call *call, struct err *err);
