/* What holds for receiving on every channel, whatever its case files say: each case that goes well
 * is spoiled in every way that a stranger, a proxy or a bad line can spoil it. */
#include "trial.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/limits.h"

#include <string.h>

#define ALL_BITS_BYTES 700          /* longer bodies have one bit flipped per byte */
#define TRUNCATIONS 400

/* One spoiled delivery of a case. */
struct spoil {
    const struct channel_driver *driver;
    const struct channel_case *one;
    struct arena *arena;
    struct trial trial;
    struct buf *seen;
};

static bool begin(struct spoil *spoil)
{
    arena_reset(spoil->arena);
    return trial_begin(&spoil->trial, spoil->arena, spoil->driver, spoil->one);
}

static void run(struct spoil *spoil)
{
    trial_run(&spoil->trial);
    trial_texts(&spoil->trial, spoil->seen);
    spoil->seen->overflow = false;
    trial_end(&spoil->trial);
}

/* It must have been refused for want of proof, and nothing stored. */
static void want_forbidden(const struct spoil *spoil, const char *what)
{
    if (spoil->trial.status == 0)
        test_problem("%s: taken, with %zu events", what, spoil->trial.events.count);
    else if (spoil->trial.err.code != ERR_FORBIDDEN)
        test_problem("%s: %s (%s), wanted forbidden", what, err_word(spoil->trial.err.code),
                     spoil->trial.err.detail);
}

static bool is_signed(const struct channel_case *one)
{
    return one->inbound.signature.part_count > 0;
}

static bool signs_time(const struct channel_case *one)
{
    for (size_t i = 0; i < one->inbound.signature.part_count; i++)
        if (strncmp(one->inbound.signature.parts[i], "header:", 7) == 0)
            return true;
    return false;
}

static struct str flipped(struct arena *arena, struct str text, size_t byte, int bit)
{
    char *copy = arena_copy(arena, text.data, text.len);

    copy[byte] = (char)(copy[byte] ^ (1 << bit));
    return (struct str){ copy, text.len };
}

/* Is the body another one, yet the same form ("%2b" for "%2B")? Then a signature over the form's pairs still holds. */
static bool same_form(struct spoil *spoil)
{
    const struct signature *signature = &spoil->one->inbound.signature;
    bool signs_form = false;

    for (size_t i = 0; i < signature->part_count; i++)
        signs_form |= strcmp(signature->parts[i], "form") == 0;
    if (!signs_form || !str_eq(trial_form(spoil->arena, spoil->trial.request.body),
                               trial_form(spoil->arena, spoil->one->inbound.body)))
        return false;
    trial_end(&spoil->trial);
    return true;
}

static void flip_bodies(struct spoil *spoil)
{
    size_t length = spoil->one->inbound.body.len;
    int bits = length <= ALL_BITS_BYTES ? 8 : 1;

    for (size_t byte = 0; byte < length; byte++)
        for (int bit = 0; bit < bits; bit++) {
            if (!begin(spoil))
                return;
            spoil->trial.request.body = flipped(spoil->arena, spoil->trial.request.body, byte, bit);
            if (same_form(spoil))
                continue;
            run(spoil);
            if (spoil->trial.status == 0 || spoil->trial.err.code != ERR_FORBIDDEN) {
                want_forbidden(
                    spoil,
                    arena_printf(spoil->arena, "bit %d of body byte %zu flipped", bit, byte));
                return;
            }
        }
}

static void flip_header(struct spoil *spoil, const char *name)
{
    size_t length;

    if (!begin(spoil))
        return;
    length = http_header(&spoil->trial.request, name).len;
    trial_end(&spoil->trial);
    for (size_t byte = 0; byte < length; byte++)
        for (int bit = 0; bit < 8; bit++) {
            if (!begin(spoil))
                return;
            trial_header(
                &spoil->trial, name,
                flipped(spoil->arena, http_header(&spoil->trial.request, name), byte, bit));
            run(spoil);
            if (spoil->trial.status == 0 || spoil->trial.err.code != ERR_FORBIDDEN) {
                want_forbidden(
                    spoil,
                    arena_printf(spoil->arena, "bit %d of %s byte %zu flipped", bit, name, byte));
                return;
            }
        }
}

static void check_signature(struct spoil *spoil)
{
    const struct signature *signature = &spoil->one->inbound.signature;

    flip_bodies(spoil);
    flip_header(spoil, signature->header);
    for (size_t i = 0; i < signature->part_count; i++)
        if (strncmp(signature->parts[i], "header:", 7) == 0)
            flip_header(spoil, signature->parts[i] + 7);
    if (begin(spoil)) {
        trial_header(&spoil->trial, signature->header, STR(""));
        run(spoil);
        want_forbidden(spoil, "an empty signature");
    }
    if (signature->setting && begin(spoil)) {
        trial_sign(&spoil->trial, "a stranger's key");
        run(spoil);
        want_forbidden(spoil, "signed by a stranger");
    }
    if (signs_time(spoil->one) && begin(spoil)) {
        spoil->trial.webhook.now_ms -= 2 * LIMIT_SIGNATURE_AGE_S * 1000;
        run(spoil);
        want_forbidden(spoil, "signed in the future");
    }
    if (signs_time(spoil->one) && begin(spoil)) {
        spoil->trial.webhook.now_ms += (LIMIT_SIGNATURE_AGE_S + 1) * 1000;
        run(spoil);
        want_forbidden(spoil, "delivered again after the window");
    }
}

/* A header that is the secret itself. */
static void check_proof(struct spoil *spoil)
{
    flip_header(spoil, spoil->one->inbound.proof);
    if (begin(spoil)) {
        trial_header(&spoil->trial, spoil->one->inbound.proof, STR(""));
        run(spoil);
        want_forbidden(spoil, "with an empty secret");
    }
}

/* Without its secrets a channel takes nothing; with others neither. */
static void check_secrets(struct spoil *spoil)
{
    const struct field *table = spoil->driver->settings;
    bool any = false;

    for (size_t i = 0; table[i].name; i++)
        any |= (table[i].flags & FIELD_SECRET) != 0;
    if (!any)
        return;
    for (int other = 0; other < 2; other++) {
        if (!begin(spoil))
            return;
        for (size_t i = 0; table[i].name; i++)
            if (table[i].flags & FIELD_SECRET)
                trial_setting(&spoil->trial, table[i].name,
                              other ? STR("another secret") : (struct str){ 0 });
        run(spoil);
        want_forbidden(spoil, other ? "with other secrets set" : "with no secret set");
        if (!spoil->trial.err.hint[0])
            test_problem("no hint says which secret to set");
    }
}

/* Cut short, a body is refused: without proof where it is signed, and JSON in any case. */
static void check_truncated(struct spoil *spoil)
{
    struct str body = spoil->one->inbound.body;
    size_t step = body.len / TRUNCATIONS + 1;
    bool json = body.len && body.data[0] == '{';

    for (size_t length = 0; length < body.len; length += step) {
        if (!begin(spoil))
            return;
        spoil->trial.request.body.len = length;
        run(spoil);
        if (is_signed(spoil->one)) {
            if (spoil->trial.err.code != ERR_FORBIDDEN)
                want_forbidden(spoil, arena_printf(spoil->arena, "cut to %zu bytes", length));
        } else if (json && spoil->trial.status == 0 && spoil->trial.events.count > 0
                   && spoil->trial.events.items[0].kind != CHANNEL_IGNORED) {
            test_problem("cut to %zu bytes: taken", length);
            return;
        }
    }
}

/* Signed but not understood is "malformed", so that it is parked; unproven it is not even that. */
static void check_malformed(struct spoil *spoil)
{
    static const struct str bodies[] = {
        { "", 0 },
        { "{", 1 },
        { "[]", 2 },
        { "null", 4 },
        { "\xff\xfe\x00garbage", 10 },
        { "{\"a\":1}", 7 }, { " \n\n", 3 },
        { "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", 44 },
        { "{\"text\":\"\\ud83d\"}", 17 },
    };

    if (!spoil->one->inbound.body.len)
        return;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        if (!begin(spoil))
            return;
        spoil->trial.request.body = bodies[i];
        trial_sign(&spoil->trial, NULL);
        run(spoil);
        for (size_t j = 0; j < spoil->trial.events.count; j++)
            if (spoil->trial.status == 0 && spoil->trial.events.items[j].kind == CHANNEL_MESSAGE)
                test_problem("body %zu (%.*s) became a message", i, STR_FMT(bodies[i]));
        if (spoil->trial.status < 0 && spoil->trial.err.code == ERR_INTERNAL)
            test_problem("body %zu (%.*s) is called our own fault", i, STR_FMT(bodies[i]));
        if (spoil->trial.status < 0 && spoil->one->inbound.signature.setting
            && spoil->trial.err.code != ERR_MALFORMED)
            test_problem("body %zu, signed, is %s, wanted malformed", i,
                         err_word(spoil->trial.err.code));
    }
}

static bool same_text(struct str a, struct str b)
{
    return str_eq(a, b);
}

static bool same_event(const struct channel_event *a, const struct channel_event *b)
{
    return a->kind == b->kind && same_text(a->external_id, b->external_id)
        && same_text(a->address, b->address) && same_text(a->name, b->name)
        && same_text(a->group, b->group) && same_text(a->text, b->text)
        && same_text(a->type, b->type) && same_text(a->reply_to, b->reply_to)
        && same_text(a->metadata, b->metadata) && a->provider_ms == b->provider_ms
        && a->offset_min == b->offset_min && a->state == b->state && same_text(a->code, b->code)
        && same_text(a->hint, b->hint) && a->is_history == b->is_history
        && a->is_automatic == b->is_automatic && a->priority == b->priority;
}

/* Twice the same request: the same in every byte. */
static void check_pure(struct spoil *spoil)
{
    struct arena *arena = arena_new(0);
    struct trial first;

    if (trial_begin(&first, arena, spoil->driver, spoil->one) && begin(spoil)) {
        trial_run(&first);
        run(spoil);
        if (first.status != spoil->trial.status || first.events.count != spoil->trial.events.count
            || !same_text(first.reply.body, spoil->trial.reply.body))
            test_problem("the same request twice gives another answer");
        else
            for (size_t i = 0; i < first.events.count; i++)
                if (!same_event(&first.events.items[i], &spoil->trial.events.items[i]))
                    test_problem("the same request twice gives another event %zu", i + 1);
    }
    trial_end(&first);
    arena_free(arena);
}

/* Delivered again a minute later, signed anew where the sender signs: the ids are the first
 * ones. */
static void check_again(struct spoil *spoil)
{
    struct arena *arena = arena_new(0);
    struct trial first;

    if (trial_begin(&first, arena, spoil->driver, spoil->one) && begin(spoil)) {
        int64_t seconds;

        trial_run(&first);
        spoil->trial.webhook.now_ms += 60000;
        for (size_t i = 0; i < spoil->one->inbound.signature.part_count; i++) {
            const char *part = spoil->one->inbound.signature.parts[i];

            if (strncmp(part, "header:", 7) == 0 && spoil->one->inbound.signature.setting
                && str_int(http_header(&spoil->trial.request, part + 7), 0, INT64_MAX, &seconds))
                trial_header(&spoil->trial, part + 7,
                             str_c(arena_printf(arena, "%lld", (long long)seconds + 60)));
        }
        trial_sign(&spoil->trial, NULL);
        run(spoil);
        if (first.events.count != spoil->trial.events.count)
            test_problem("delivered again it gives %zu events, first %zu",
                         spoil->trial.events.count, first.events.count);
        for (size_t i = 0; i < first.events.count && i < spoil->trial.events.count; i++)
            if (!same_text(first.events.items[i].external_id,
                           spoil->trial.events.items[i].external_id))
                test_problem("delivered again event %zu has another id", i + 1);
    }
    trial_end(&first);
    arena_free(arena);
}

void check_receives(const struct channel_driver *driver, const struct channel_case *cases,
                    size_t count, struct buf *seen)
{
    struct spoil spoil = { .driver = driver, .arena = arena_new(0), .seen = seen };

    for (size_t i = 0; i < count; i++) {
        spoil.one = &cases[i];
        if (cases[i].call != CALL_RECEIVE || cases[i].error)
            continue;
        test_begin("channel %s: spoiled: %s", driver->kind, cases[i].name);
        check_pure(&spoil);
        if (!cases[i].unnumbered)
            check_again(&spoil);
        if (!cases[i].is_unsigned)
            check_secrets(&spoil);
        check_truncated(&spoil);
        check_malformed(&spoil);
        if (is_signed(&cases[i]))
            check_signature(&spoil);
        if (cases[i].inbound.proof)
            check_proof(&spoil);
        test_end();
    }
    arena_free(spoil.arena);
}
