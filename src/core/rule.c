#include "core/rule.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/field.h"
#include "base/id.h"
#include "base/json.h"

#include <stdio.h>
#include <string.h>

#define PATTERN_BYTES 256

const char *const rule_state_words[] = { "enabled", "disabled", NULL };

#define AT(member) offsetof(struct rule, member)
const struct column rule_columns[] = {
    { "id", COL_REF, AT(id), COL_PUBLIC, ID_RULE, NULL, NULL },
    { "tenant_id", COL_INT, AT(tenant_id), 0, NULL, NULL, NULL },
    { "name", COL_TEXT, AT(name), COL_PUBLIC, NULL, NULL, NULL },
    { "position", COL_INT, AT(position), COL_PUBLIC, NULL, NULL, NULL },
    { "state", COL_ENUM, AT(state), COL_PUBLIC, NULL, rule_state_words, NULL },
    { "matches", COL_JSON, AT(matches), COL_PUBLIC, NULL, NULL, NULL },
    { "actions", COL_JSON, AT(actions), COL_PUBLIC, NULL, NULL, NULL },
    { "hits", COL_INT, AT(hits), COL_PUBLIC, NULL, NULL, NULL },
    { "created_ms", COL_TIME, AT(created_ms), COL_PUBLIC, NULL, NULL, "created_at" },
    { "updated_ms", COL_TIME, AT(updated_ms), COL_PUBLIC, NULL, NULL, "updated_at" },
    { 0 }
};

const struct field rule_match_fields[] = {
    { "channel", FIELD_TEXT, 0, "Name or id of the channel.", 1, LIMIT_NAME_BYTES, NULL, NULL, NULL,
        "office-phone" },
    { "kind", FIELD_TEXT, 0, "Kind of the channel.", 1, LIMIT_NAME_BYTES, NULL, NULL, NULL,
        "sandbox" },
    { "sender", FIELD_TEXT, 0, "Address of the sender; a * at the end stands for anything.", 1,
        LIMIT_ADDRESS_BYTES, NULL,
      NULL, NULL, "+4930*" },
    { "any", FIELD_TEXTS, 0,
        "At least one of these words stands in the text; case and accents of style do not matter.",
            1,
      LIMIT_RULE_WORDS, NULL, NULL, NULL, "price,offer" },
    { "all", FIELD_TEXTS, 0, "All of these words stand in the text.", 1, LIMIT_RULE_WORDS, NULL,
        NULL, NULL, NULL },
    { "contains", FIELD_TEXT, 0, "The text contains this, also inside a word.", 1, PATTERN_BYTES,
        NULL, NULL, NULL, NULL },
    { "equals", FIELD_TEXT, 0, "The whole text is this.", 1, PATTERN_BYTES, NULL, NULL, NULL,
        NULL },
    { "prefix", FIELD_TEXT, 0, "The text begins with this.", 1, PATTERN_BYTES, NULL, NULL, NULL,
        NULL },
    { "type", FIELD_ENUM, 0, "Type of the newest message.", 0, 0, MESSAGE_TYPES, NULL, NULL,
        "sms" },
    { 0 }
};

const struct field rule_forward_fields[] = {
    { "channel", FIELD_TEXT, 0, "Channel that forwards it; together with `to`.", 1,
        LIMIT_NAME_BYTES, NULL, NULL, NULL,
      "office-phone" },
    { "to", FIELD_TEXT, 0, "Address that gets it.", 1, LIMIT_ADDRESS_BYTES, NULL, NULL, NULL,
        "+4930123456" },
    { "url", FIELD_URL, 0, "Webhook that gets it as JSON; instead of `channel` and `to`.", 0, 2000,
        NULL, NULL, NULL,
      "https://example.com/hook" },
    { 0 }
};

const struct field rule_action_fields[] = {
    { "tags", FIELD_TEXTS, 0, "Tags to add to the messages.", 1, LIMIT_TAGS_PER_MESSAGE, NULL, NULL,
        NULL, "sales" },
    { "priority", FIELD_ENUM, 0, "Priority of the messages and of what they cause.", 0, 0,
        "normal|bulk|urgent", NULL, NULL,
      "urgent" },
    { "forward", FIELD_LIST, 0, "Where to forward it: addresses on channels, webhooks.", 1, 8, NULL,
        NULL,
      rule_forward_fields, NULL },
    { "answer", FIELD_TEXT, 0, "Text to answer with; {name} and {text} are filled in.", 1,
        16 * 1024, NULL, NULL, NULL,
      "Hello {name}, we are closed today." },
    { "assign", FIELD_TEXT, 0, "Person who gets the conversation; no machine answers then.", 1,
        LIMIT_NAME_BYTES, NULL, NULL,
      NULL, "anna" },
    { "agent", FIELD_BOOL, 0, "true: let the channel's agent answer; false: no machine answers.", 0,
        0, NULL, NULL, NULL,
      NULL },
    { "stop", FIELD_BOOL, 0, "No further rule and no policy after this one.", 0, 0, NULL, NULL,
        NULL, NULL },
    { 0 }
};

/* --- Checking --------------------------------------------------------------------------------- */

/* Put "matches." or "actions." before the field that an error names. */
static int name_part(struct err *err, const char *part)
{
    char field[sizeof err->field];

    if (err) {
        snprintf(field, sizeof field, "%s%s%.50s", part, err->field[0] ? "." : "", err->field);
        memcpy(err->field, field, sizeof field);
    }
    return -1;
}

/* One of a rule's two objects. */
struct part {
    const char *name;
    const struct field *table;
    struct str text;
};

static struct fields *read_part(struct arena *arena, const struct part *part, struct err *err)
{
    const struct json *object = json_parse(arena, part->text, err);
    struct fields *fields = arena_alloc(arena, sizeof *fields);

    if (object && json_kind(object) != JSON_KIND_OBJECT) {
        err_field(err, part->name, "This has to be a JSON object.");
        return NULL;
    }
    if (object && field_read_json(arena, part->table, object, fields, err) == 0)
        return fields;
    name_part(err, part->name);
    return NULL;
}

/* A pattern that folds to nothing ("!?") would match everything. */
static int check_pattern(struct arena *arena, const struct fields *matches, const char *name,
                         struct err *err)
{
    struct str text = field_text(matches, name);

    if (text.data && str_fold(arena, text).len == 0)
        return err_field(err, name,
                         "\"%.*s\" holds no letter or digit, so it would match every text.",
                             STR_FMT(text));
    return 0;
}

static int check_words(struct arena *arena, const struct fields *matches, const char *name,
                       struct err *err)
{
    const struct value *words = field_get(matches, name);

    for (size_t i = 0; words && i < words->count; i++) {
        struct str word = words->texts[i];
        if (word.len > PATTERN_BYTES)
            return err_field(err, name, "A word is longer than %d bytes.", PATTERN_BYTES);
        if (str_fold(arena, word).len == 0)
            return err_field(err, name, "\"%.*s\" is not a word.", STR_FMT(word));
    }
    return 0;
}

static int check_matches(struct arena *arena, const struct fields *matches, struct err *err)
{
    struct str sender = field_text(matches, "sender");
    const char *star = sender.data ? memchr(sender.data, '*', sender.len) : NULL;

    if (star && star != sender.data + sender.len - 1)
        return err_field(err, "sender", "A * may only stand at the end.");
    if (check_words(arena, matches, "any", err) || check_words(arena, matches, "all", err))
        return -1;
    if (check_pattern(arena, matches, "contains", err) ||
        check_pattern(arena, matches, "equals", err))
        return -1;
    return check_pattern(arena, matches, "prefix", err);
}

static int check_forward(const struct fields *forward, struct err *err)
{
    bool channel = field_cstr(forward, "channel"), to = field_cstr(forward, "to"),
        url = field_cstr(forward, "url");

    if (url ? channel || to : !channel || !to)
        return err_field(err, "forward", "Name either `channel` and `to`, or `url`.");
    return 0;
}

static int check_actions(const struct fields *actions, struct err *err)
{
    const struct value *tags = field_get(actions, "tags"),
        *forwards = field_get(actions, "forward");
    bool any = false;

    for (const struct field *field = rule_action_fields; field->name; field++)
        any |= field_get(actions, field->name) != NULL;
    if (!any)
        return err_field(err, "",
                         "Name at least one action: tags, priority, forward, answer, assign, "
                         "agent or stop.");
    for (size_t i = 0; tags && i < tags->count; i++)
        if (tags->texts[i].len == 0 || tags->texts[i].len > LIMIT_TAG_BYTES)
            return err_field(err, "tags", "A tag has 1 to %d bytes.", LIMIT_TAG_BYTES);
    for (size_t i = 0; forwards && i < forwards->count; i++)
        if (check_forward(forwards->list[i], err))
            return -1;
    return 0;
}

static int parse_rule(struct arena *arena, struct str matches, struct str actions,
                      struct rule_parsed *out,
                      struct err *err)
{
    out->matches = read_part(arena, &(struct part){ "matches", rule_match_fields, matches }, err);
    out->actions = out->matches
        ? read_part(arena, &(struct part){ "actions", rule_action_fields, actions }, err) : NULL;
    if (!out->actions)
        return -1;
    if (check_matches(arena, out->matches, err))
        return name_part(err, "matches");
    return check_actions(out->actions, err) ? name_part(err, "actions") : 0;
}

int rule_check(struct arena *arena, struct str matches, struct str actions, struct err *err)
{
    struct rule_parsed parsed;

    return parse_rule(arena, matches, actions, &parsed, err);
}

int rule_load(struct db_session *session, struct arena *arena, int64_t tenant_id,
              struct rule_list *out, struct err *err)
{
    struct db_rows *rows = db_query(session,
        "SELECT id, name, matches, actions FROM rules WHERE tenant_id = $1 AND state = 0 ORDER BY "
        "position, id LIMIT $2",
        DB_ARGS(db_int(tenant_id), db_int(LIMIT_RULES_PER_TENANT)), err);
    struct err unread;
    int more;

    *out = (struct rule_list){ .items = arena_array(arena, LIMIT_RULES_PER_TENANT,
                                                    sizeof *out->items) };
    if (!rows)
        return -1;
    while ((more = db_next(rows, err)) == 1) {
        struct rule_parsed *rule = &out->items[out->count];
        rule->id = db_col_int(rows, 0);
        rule->name = str_dup(arena, db_col_text(rows, 1));
        err_clear(&unread);
        if (parse_rule(arena, db_col_text(rows, 2), db_col_text(rows, 3), rule, &unread) == 0)
            out->count++;
    }
    return more;
}

/* --- Matching --------------------------------------------------------------------------------- */

static bool is_letter(const struct str text, size_t at)
{
    unsigned char c = (unsigned char)text.data[at];

    return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '_';
}

static const char *find(struct str text, struct str part, size_t from)
{
    return part.len <= text.len - from ? memmem(text.data + from, text.len - from, part.data,
                                                part.len) : NULL;
}

/* Both folded; the word stands alone, not inside another one. */
static bool has_word(struct str text, struct str word)
{
    size_t from = 0;
    const char *found;

    while (from < text.len && (found = find(text, word, from))) {
        size_t at = (size_t)(found - text.data), end = at + word.len;
        if ((at == 0 || !is_letter(text, at - 1)) && (end == text.len || !is_letter(text, end)))
            return true;
        from = at + 1;
    }
    return false;
}

static bool words_match(struct arena *arena, const struct value *words, struct str text, bool all)
{
    if (!words || words->count == 0)
        return true;
    for (size_t i = 0; i < words->count; i++)
        if (has_word(text, str_fold(arena, words->texts[i])) != all)
            return !all;
    return all;
}

static bool text_matches(struct arena *arena, const struct fields *matches, struct str given)
{
    struct str text = str_fold(arena, given), contains = field_text(matches, "contains");
    struct str equals = field_text(matches, "equals"), prefix = field_text(matches, "prefix");

    if (contains.data && !find(text, str_fold(arena, contains), 0))
        return false;
    if (equals.data && !str_eq(text, str_fold(arena, equals)))
        return false;
    if (prefix.data && !str_starts(text, str_dup(arena, str_fold(arena, prefix))))
        return false;
    return words_match(arena, field_get(matches, "any"), text, false) &&
           words_match(arena, field_get(matches, "all"), text, true);
}

static bool channel_matches(const struct fields *matches, const struct rule_subject *subject)
{
    struct str channel = field_text(matches, "channel"), kind = field_text(matches, "kind");
    char id[ID_TEXT_BYTES];

    if (kind.data && !str_is(kind, subject->kind))
        return false;
    return !channel.data || str_is(channel, subject->channel) ||
           str_is(channel, id_encode(id, ID_CHANNEL, subject->channel_id));
}

static bool sender_matches(struct str pattern, struct str sender)
{
    if (!pattern.data)
        return true;
    if (pattern.data[pattern.len - 1] != '*')
        return str_eq_nocase(pattern, sender);
    pattern.len--;
    return sender.len >= pattern.len && str_eq_nocase(pattern,
                                                      (struct str){ sender.data, pattern.len });
}

bool rule_matches(struct arena *arena, const struct rule_parsed *rule,
                  const struct rule_subject *subject)
{
    struct str type = field_text(rule->matches, "type");

    if (type.data && !str_eq(type, subject->type))
        return false;
    return channel_matches(rule->matches, subject) &&
        sender_matches(field_text(rule->matches, "sender"), subject->sender) &&
           text_matches(arena, rule->matches, subject->text);
}

/* --- Effects ---------------------------------------------------------------------------------- */

/* One pass over the template, so that what a contact wrote is never taken for a placeholder. */
static struct str fill(struct arena *arena, struct str template, const struct rule_subject *subject)
{
    struct buf out;
    struct str filled;

    buf_init(&out, LIMIT_TEXT_BYTES);
    for (size_t i = 0; i < template.len;) {
        struct str rest = { template.data + i, template.len - i };
        if (str_starts(rest, "{name}")) {
            buf_str(&out, subject->name);
            i += sizeof "{name}" - 1;
        } else if (str_starts(rest, "{text}")) {
            buf_str(&out, subject->text);
            i += sizeof "{text}" - 1;
        } else {
            buf_putc(&out, template.data[i++]);
        }
    }
    filled = (struct str){ arena_copy(arena, out.data, out.len), out.len };
    buf_fini(&out);
    return filled;
}

static void add_tags(struct rule_effects *out, const struct value *tags)
{
    for (size_t i = 0; tags && i < tags->count; i++) {
        bool known = false;
        for (size_t k = 0; k < out->tag_count; k++)
            known |= str_eq(out->tags[k], tags->texts[i]);
        if (!known && out->tag_count < sizeof out->tags / sizeof out->tags[0])
            out->tags[out->tag_count++] = tags->texts[i];
    }
}

static void add_forwards(struct rule_effects *out, const struct rule_parsed *rule,
                         const struct rule_subject *subject)
{
    const struct value *forwards = field_get(rule->actions, "forward");

    for (size_t i = 0; forwards && i < forwards->count; i++) {
        const struct fields *given = forwards->list[i];
        if (subject->hops >= LIMIT_FORWARD_HOPS)
            out->too_many_hops = true;
        else if (out->forward_count < sizeof out->forwards / sizeof out->forwards[0])
            out->forwards[out->forward_count++] = (struct rule_forward){ rule->id,
                field_text(given, "channel"),
                field_text(given, "to"), field_text(given, "url") };
    }
}

static void add_effects(struct arena *arena, const struct rule_parsed *rule,
                        const struct rule_subject *subject,
                        struct rule_effects *out)
{
    const struct fields *actions = rule->actions;
    const struct value *agent = field_get(actions, "agent");
    struct str answer = field_text(actions, "answer"), assign = field_text(actions, "assign");

    add_tags(out, field_get(actions, "tags"));
    add_forwards(out, rule, subject);
    out->priority = field_number(actions, "priority", out->priority);
    if (answer.data && !out->answered_by) {
        out->answer = fill(arena, answer, subject);
        out->answered_by = rule;
    }
    if (assign.data) {
        out->assign = assign;
        out->assigned_by = rule;
    }
    if (agent)
        out->agent = agent->number ? RULE_ON : RULE_OFF;
    if (field_flag(actions, "stop"))
        out->stopped_by = rule;
}

void rule_evaluate(struct arena *arena, const struct rule_list *rules,
                   const struct rule_subject *subject,
                   struct rule_effects *out)
{
    *out = (struct rule_effects){ .priority = -1,
        .hits = arena_array(arena, rules->count, sizeof *out->hits) };
    for (size_t i = 0; i < rules->count && !out->stopped_by; i++) {
        if (!rule_matches(arena, &rules->items[i], subject))
            continue;
        out->hits[out->hit_count++] = &rules->items[i];
        add_effects(arena, &rules->items[i], subject, out);
    }
}
