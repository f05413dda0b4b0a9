#include "api/op.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "core/channel.h"
#include "core/rule_edit.h"

#define POSITION_LAST 1000      /* of rules that name none */

struct edit {
    struct op_call *call;
    struct rule rule;
};

static int render(struct op_call *call, void *arg, struct err *err)
{
    (void)err;
    json_object_begin(&call->out);
    row_json(&call->out, rule_columns, &((const struct edit *)arg)->rule);
    json_object_end(&call->out);
    return 0;
}

/* --- Adding, changing, deleting ---------------------------------------------------------------------------------- */

static int add_tx(struct db_session *tx, void *arg, struct err *err)
{
    return rule_add(tx, &((struct edit *)arg)->rule, err);
}

static enum op_done add(struct op_call *call, struct err *err)
{
    int64_t now_ms = clock_ms();
    struct edit edit = {
        .call = call,
        .rule = { .id = ids_next(call->hub->ids, err), .tenant_id = call->tenant_id,
                  .name = field_text(&call->in, "name"), .position = field_number(&call->in, "position", POSITION_LAST),
                  .state = field_number(&call->in, "state", 0), .matches = field_text(&call->in, "matches"),
                  .actions = field_text(&call->in, "actions"), .created_ms = now_ms, .updated_ms = now_ms },
    };

    if (edit.rule.id < 0 || rule_check(call->arena, edit.rule.matches, edit.rule.actions, err) < 0)
        return OP_FAILED;
    call->object = id_text(call->arena, ID_RULE, edit.rule.id);
    return op_write(call, add_tx, render, &edit, err);
}

static struct str newer(const struct op_call *call, const char *name, struct str old)
{
    struct str given = field_text(&call->in, name);

    return given.data ? given : old;
}

static int change_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct edit *edit = arg;
    struct op_call *call = edit->call;
    struct rule *rule = &edit->rule;
    int done = rule_get(tx, call->arena, rule, err);

    if (done == 1) {
        rule->name = newer(call, "name", rule->name);
        rule->matches = newer(call, "matches", rule->matches);
        rule->actions = newer(call, "actions", rule->actions);
        rule->position = field_number(&call->in, "position", rule->position);
        rule->state = field_number(&call->in, "state", rule->state);
        rule->updated_ms = clock_ms();
        if (rule_check(call->arena, rule->matches, rule->actions, err) < 0)
            return -1;
        done = rule_change(tx, rule, err);
    }
    return done == 0 ? op_not_found(call, err) : done < 0 ? -1 : 0;
}

static enum op_done change(struct op_call *call, struct err *err)
{
    struct edit edit = { call, { .id = field_number(&call->in, "id", 0), .tenant_id = call->tenant_id } };

    return op_write(call, change_tx, render, &edit, err);
}

static int remove_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct op_call *call = arg;
    int done = rule_remove(tx, call->tenant_id, field_number(&call->in, "id", 0), err);

    return done == 0 ? op_not_found(call, err) : done < 0 ? -1 : 0;
}

static enum op_done drop(struct op_call *call, struct err *err)
{
    return op_write(call, remove_tx, NULL, call, err);
}

/* --- Looking ----------------------------------------------------------------------------------------------------- */

static enum op_done list(struct op_call *call, struct err *err)
{
    struct db_session *session = db_read(call->hub->db, call->tenant_id, err);
    struct rule *rules;
    int count;

    if (!session)
        return OP_FAILED;
    count = rule_list_all(session, call->arena, call->tenant_id, &rules, err);
    db_read_end(session);
    if (count < 0)
        return OP_FAILED;
    op_list_begin(call);
    for (int i = 0; i < count; i++) {
        json_object_begin(&call->out);
        row_json(&call->out, rule_columns, &rules[i]);
        json_object_end(&call->out);
    }
    op_list_end(call, NULL, 0);
    return OP_DONE;
}

static enum op_done get(struct op_call *call, struct err *err)
{
    struct edit edit = { call, { .id = field_number(&call->in, "id", 0), .tenant_id = call->tenant_id } };
    struct db_session *session = db_read(call->hub->db, call->tenant_id, err);
    int found;

    if (!session)
        return OP_FAILED;
    found = rule_get(session, call->arena, &edit.rule, err);
    db_read_end(session);
    if (found < 1)
        return found < 0 ? OP_FAILED : op_not_found(call, err);
    return render(call, &edit, err) < 0 ? OP_FAILED : OP_DONE;
}

/* --- Trying them ------------------------------------------------------------------------------------------------- */

static int read_subject(struct op_call *call, struct rule_subject *subject, struct err *err)
{
    struct str name = field_text(&call->in, "channel");
    struct channel channel;
    int found;

    *subject = (struct rule_subject){ .channel = "", .kind = "", .sender = field_text(&call->in, "from"),
                                      .name = field_text(&call->in, "name"), .text = field_text(&call->in, "text"),
                                      .type = field_text(&call->in, "type") };
    if (!name.data)
        return 0;
    found = channel_load(call->hub->db, call->arena, CHANNEL_NAME(call->tenant_id, name), &channel, err);
    if (found == 0) {
        err_field(err, "channel", "There is no channel \"%.60s\".", str_printable(call->arena, name, true));
        return err_hint(err, "`message-hub channels` lists them.");
    }
    if (found < 0)
        return -1;
    subject->channel = channel.name;
    subject->kind = channel.kind;
    subject->channel_id = channel.id;
    return 0;
}

static void put_rule(struct op_call *call, const char *key, const struct rule_parsed *rule)
{
    json_cstr_at(&call->out, key, rule ? id_text(call->arena, ID_RULE, rule->id) : NULL);
}

static void put_hits(struct op_call *call, const struct rule_effects *effects)
{
    json_key(&call->out, "rules");
    json_array_begin(&call->out);
    for (size_t i = 0; i < effects->hit_count; i++) {
        json_object_begin(&call->out);
        put_rule(call, "id", effects->hits[i]);
        json_cstr_at(&call->out, "name", effects->hits[i]->name);
        json_object_end(&call->out);
    }
    json_array_end(&call->out);
}

static void put_forwards(struct op_call *call, const struct rule_effects *effects)
{
    json_key(&call->out, "forward");
    json_array_begin(&call->out);
    for (size_t i = 0; i < effects->forward_count; i++) {
        const struct rule_forward *forward = &effects->forwards[i];

        json_object_begin(&call->out);
        json_cstr_at(&call->out, "rule_id", id_text(call->arena, ID_RULE, forward->rule_id));
        json_text_at(&call->out, "channel", forward->channel);
        json_text_at(&call->out, "to", forward->to);
        json_text_at(&call->out, "url", forward->url);
        json_object_end(&call->out);
    }
    json_array_end(&call->out);
}

static void put_effects(struct op_call *call, const struct rule_effects *effects)
{
    static const char *const switches[] = { "as_is", "on", "off" };
    bool known = effects->priority >= 0 && effects->priority <= PRIORITY_URGENT;

    json_object_begin(&call->out);
    put_hits(call, effects);
    json_key(&call->out, "tags");
    json_array_begin(&call->out);
    for (size_t i = 0; i < effects->tag_count; i++)
        json_put_text(&call->out, effects->tags[i]);
    json_array_end(&call->out);
    json_cstr_at(&call->out, "priority", known ? message_priority_words[effects->priority] : NULL);
    put_forwards(call, effects);
    json_text_at(&call->out, "answer", effects->answer);
    put_rule(call, "answered_by", effects->answered_by);
    json_text_at(&call->out, "assign", effects->assign);
    put_rule(call, "stopped_by", effects->stopped_by);
    json_cstr_at(&call->out, "agent", switches[effects->agent]);
    json_object_end(&call->out);
}

static enum op_done test(struct op_call *call, struct err *err)
{
    struct db_session *session;
    struct rule_subject subject;
    struct rule_effects effects;
    struct rule_list rules;
    int failed;

    if (read_subject(call, &subject, err) < 0)
        return OP_FAILED;
    session = db_read(call->hub->db, call->tenant_id, err);
    if (!session)
        return OP_FAILED;
    failed = rule_load(session, call->arena, call->tenant_id, &rules, err);
    db_read_end(session);
    if (failed)
        return OP_FAILED;
    rule_evaluate(call->arena, &rules, &subject, &effects);
    put_effects(call, &effects);
    return OP_DONE;
}

/* --- The table --------------------------------------------------------------------------------------------------- */

#define RULE { "id", FIELD_ID, FIELD_PATH, "The rule.", 0, 0, ID_RULE }
#define POSITION { "position", FIELD_INT, 0, "Rules are looked at in this order.", 0, 1000000, NULL, NULL, NULL, "10" }
#define STATE { "state", FIELD_ENUM, 0, "A disabled rule is passed over.", 0, 0, "enabled|disabled" }
#define MATCHES(flags) { "matches", FIELD_OBJECT, flags, "On what: channel, sender, any, all, contains, ...", 0, \
      LIMIT_METADATA_BYTES, NULL, NULL, NULL, "{\"any\":[\"price\",\"offer\"]}" }
#define ACTIONS(flags) { "actions", FIELD_OBJECT, flags, "What is done: tags, forward, answer, assign, ...", 0, \
      LIMIT_METADATA_BYTES, NULL, NULL, NULL, "{\"tags\":[\"sales\"],\"answer\":\"We write back today.\"}" }

static const struct field none[] = { { 0 } };
static const struct field id_fields[] = { RULE, { 0 } };
static const struct field add_fields[] = {
    { "name", FIELD_TEXT, FIELD_REQUIRED, "A name that no other rule has.", 1, LIMIT_NAME_BYTES },
    MATCHES(FIELD_REQUIRED), ACTIONS(FIELD_REQUIRED), POSITION, STATE, { 0 }
};
static const struct field change_fields[] = {
    RULE, { "name", FIELD_TEXT, 0, "Its new name.", 1, LIMIT_NAME_BYTES }, MATCHES(0), ACTIONS(0), POSITION, STATE,
    { 0 }
};
static const struct field test_fields[] = {
    { "text", FIELD_TEXT, FIELD_REQUIRED, "What is said.", 0, LIMIT_TEXT_BYTES, NULL, NULL, NULL,
      "what is the price?" },
    { "from", FIELD_TEXT, 0, "Who says it.", 0, LIMIT_ADDRESS_BYTES, NULL, "+15550002" },
    { "name", FIELD_TEXT, 0, "Under which name.", 0, LIMIT_NAME_BYTES, NULL, "" },
    { "channel", FIELD_TEXT, 0, "On which channel, by name or id.", 1, LIMIT_NAME_BYTES },
    { "type", FIELD_ENUM, 0, "As what.", 0, 0, MESSAGE_TYPES, "text" },
    { 0 }
};
static const struct field hit_shape[] = {
    { "id", FIELD_ID, 0, "The rule.", 0, 0, ID_RULE }, { "name", FIELD_TEXT, 0, "Its name." }, { 0 }
};
static const struct field forward_shape[] = {
    { "rule_id", FIELD_ID, 0, "By which rule.", 0, 0, ID_RULE },
    { "channel", FIELD_TEXT, FIELD_NULLABLE, "Through which channel." },
    { "to", FIELD_TEXT, FIELD_NULLABLE, "To whom.", 0, LIMIT_ADDRESS_BYTES },
    { "url", FIELD_TEXT, FIELD_NULLABLE, "To which webhook.", 0, LIMIT_URL_BYTES },
    { 0 }
};
static const struct field test_shape[] = {
    { "rules", FIELD_LIST, 0, "The rules that match, in order.", 0, LIMIT_RULES_PER_TENANT, .of = hit_shape },
    { "tags", FIELD_TEXTS, 0, "Tags given.", 0, 32 },
    { "priority", FIELD_TEXT, FIELD_NULLABLE, "Priority given." },
    { "forward", FIELD_LIST, 0, "Where it goes besides.", 0, 16, .of = forward_shape },
    { "answer", FIELD_TEXT, FIELD_NULLABLE, "What is answered.", 0, LIMIT_TEXT_BYTES },
    { "answered_by", FIELD_ID, FIELD_NULLABLE, "By which rule.", 0, 0, ID_RULE },
    { "assign", FIELD_TEXT, FIELD_NULLABLE, "Who gets the conversation." },
    { "stopped_by", FIELD_ID, FIELD_NULLABLE, "The rule after which nothing is looked at.", 0, 0, ID_RULE },
    { "agent", FIELD_ENUM, 0, "What becomes of the agent.", 0, 0, "as_is|on|off" },
    { 0 }
};

#define ONE .answer = rule_columns, .cli_columns = "id,name,position,state,hits"

static const struct op ops[] = {
    { .name = "rule.add", .method = HTTP_POST, .path = "/api/v1/rules", .scope = SCOPE_MANAGE, .run = add,
      .summary = "Add a rule: what matches, what is done.", .fields = add_fields, .flags = OP_CREATES, ONE,
      .cli = "rules add", .cli_args = "name",
      .example = "rules add prices --matches '{\"any\":[\"price\"]}' --actions '{\"tags\":[\"sales\"]}'" },
    { .name = "rule.list", .method = HTTP_GET, .path = "/api/v1/rules", .scope = SCOPE_READ, .run = list,
      .summary = "List rules in the order in which they are looked at.", .fields = none, .flags = OP_LIST, ONE,
      .cli = "rules", .example = "rules" },
    { .name = "rule.get", .method = HTTP_GET, .path = "/api/v1/rules/{id}", .scope = SCOPE_READ, .run = get,
      .summary = "Show one rule.", .fields = id_fields, ONE, .cli = "rules get", .cli_args = "id",
      .example = "rules get rul_0123456789abc" },
    { .name = "rule.update", .method = HTTP_PATCH, .path = "/api/v1/rules/{id}", .scope = SCOPE_MANAGE, .run = change,
      .summary = "Change a rule; what is left out stays.", .fields = change_fields, ONE, .cli = "rules update",
      .cli_args = "id", .example = "rules update rul_0123456789abc --state disabled" },
    { .name = "rule.delete", .method = HTTP_DELETE, .path = "/api/v1/rules/{id}", .scope = SCOPE_MANAGE, .run = drop,
      .summary = "Delete a rule.", .fields = id_fields, .flags = OP_EMPTY, .cli = "rules delete", .cli_args = "id",
      .example = "rules delete rul_0123456789abc" },
    { .name = "rule.test", .method = HTTP_POST, .path = "/api/v1/rules/test", .scope = SCOPE_READ, .run = test,
      .summary = "Say what the rules would do with a text; nothing is done.", .fields = test_fields,
      .shape = test_shape, .cli = "rules test", .cli_columns = "rules,tags,priority,answer,assign",
      .example = "rules test --text \"what is the price?\"" },
};

const struct op_table ops_rules = { "rules", ops, sizeof ops / sizeof *ops };
