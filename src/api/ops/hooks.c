#include "api/ingress.h"

#define HOOK { "hook", FIELD_TEXT, FIELD_PATH, "The unguessable part of the channel's address.", 1, 200 }
#define BELOW { "path", FIELD_TEXT, FIELD_PATH, "What the provider appends.", 0, 2000 }

static const struct field hook[] = { HOOK, { 0 } };
static const struct field alias[] = {
    { "alias", FIELD_TEXT, FIELD_PATH, "Which providers post there: sms for Twilio.", 1, 40 }, { 0 }
};
static const struct field hook_below[] = { HOOK, BELOW, { 0 } };

static const struct op ops[] = {
    { .name = "hook.receive", .method = HTTP_POST, .path = "/hooks/{hook}", .fields = hook, .run = ingress_receive,
      .summary = "Take a provider's webhook; answered after what it brings is stored.", .flags = OP_OPEN | OP_RAW },
    { .name = "hook.receive_below", .method = HTTP_POST, .path = "/hooks/{hook}/{path...}", .fields = hook_below,
      .run = ingress_receive, .summary = "Take a provider's webhook at a path below the channel's.",
      .flags = OP_OPEN | OP_RAW },
    { .name = "hook.receive", .method = HTTP_PUT, .path = "/hooks/{hook}", .fields = hook, .run = ingress_receive,
      .summary = "Take a provider's webhook that comes as PUT.", .flags = OP_OPEN | OP_RAW | OP_ALIAS },
    { .name = "hook.receive_below", .method = HTTP_PUT, .path = "/hooks/{hook}/{path...}", .fields = hook_below,
      .run = ingress_receive, .summary = "Take a provider's webhook that comes as PUT to a path below the channel's.",
      .flags = OP_OPEN | OP_RAW | OP_ALIAS },
    { .name = "hook.receive_shared", .method = HTTP_POST, .path = "/webhooks/{alias}", .fields = alias,
      .run = ingress_receive_shared, .flags = OP_OPEN | OP_RAW,
      .summary = "Take a webhook at the older path that all channels of a kind share; the request says whose it is." },
    { .name = "hook.verify_shared", .method = HTTP_GET, .path = "/webhooks/{alias}", .fields = alias,
      .run = ingress_receive_shared, .flags = OP_OPEN | OP_RAW,
      .summary = "Answer a provider that checks the older path that all channels of a kind share." },
    { .name = "hook.change_below", .method = HTTP_PATCH, .path = "/hooks/{hook}/{path...}", .fields = hook_below,
      .run = ingress_receive, .summary = "Take what a provider or phone changes below the channel's path.",
      .flags = OP_OPEN | OP_RAW },
    { .name = "hook.verify", .method = HTTP_GET, .path = "/hooks/{hook}", .fields = hook, .run = ingress_receive,
      .summary = "Answer a provider that checks the address of its webhook.", .flags = OP_OPEN | OP_RAW },
    { .name = "hook.verify_below", .method = HTTP_GET, .path = "/hooks/{hook}/{path...}", .fields = hook_below,
      .run = ingress_receive, .summary = "Answer a provider that checks a path below the channel's.",
      .flags = OP_OPEN | OP_RAW },
};

const struct op_table ops_hooks = { "hooks", ops, sizeof ops / sizeof *ops };
