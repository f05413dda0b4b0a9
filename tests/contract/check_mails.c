/* What holds for sending by mail, whatever a driver's case files say; and how a mail that went out is taken apart. */
#include "trial.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

#define TRICKY \
    "h\xc3\xa9llo \"w\xc3\xb6rld\" & 50% =3D = <b> \\n \xf0\x9f\x91\x8b\xf0\x9f\x8f\xbd\n.\n..\nFrom here\n second " \
    "line \n\n\ncaf\xc3\xa9?"
#define JOB_MS 12345

/* --- A mail taken apart ----------------------------------------------------------------------- */

struct str trial_mail_header(struct arena *arena, struct str mail, const char *name)
{
    struct str rest = mail, line, value = { 0 };
    size_t length = strlen(name);

    while (rest.data && str_split(&rest, '\n', &line)) {
        bool folded = line.len > 0 && (*line.data == ' ' || *line.data == '\t');

        if (str_trim(line).len == 0 || (value.data && !folded))
            break;
        if (value.data)
            value = str_c(arena_printf(arena, "%.*s %.*s", STR_FMT(value), STR_FMT(str_trim(line))));
        else if (!folded && line.len > length && line.data[length] == ':'
                 && str_eq_nocase((struct str){ line.data, length }, (struct str){ name, length }))
            value = str_trim((struct str){ line.data + length + 1, line.len - length - 1 });
    }
    return value;
}

struct str trial_mail_text(struct arena *arena, struct str mail)
{
    const char *body = mail.len ? memmem(mail.data, mail.len, "\r\n\r\n", 4) : NULL;
    const char *end = mail.data + mail.len;
    struct str out;
    struct buf text;

    buf_init(&text, LIMIT_MAIL_BYTES);
    for (const char *at = body ? body + 4 : end; at < end; at++) {
        char pair[3] = "";

        if (*at == '=' && end - at > 2 && at[1] == '\r') {
            at += 2;
        } else if (*at == '=' && end - at > 2) {
            memcpy(pair, at + 1, 2);
            buf_putc(&text, (char)strtol(pair, NULL, 16));
            at += 2;
        } else if (*at != '\r') {
            buf_putc(&text, *at);
        }
    }
    out = str_trim(buf_slice(&text));
    out = (struct str){ arena_copy(arena, out.data ? out.data : "", out.len), out.len };
    buf_fini(&text);
    return out;
}

/* --- Faults ----------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    struct script_mail step;
    enum send_outcome outcome;
    bool is_fault;
} faults[] = {
    { "421", { .status = 421, .text = "4.3.2 closing" }, SEND_RETRY, true },
    { "451", { .status = 451, .text = "4.7.1 greylisted" }, SEND_RETRY, false },
    { "550", { .status = 550, .text = "5.1.1 no such user" }, SEND_REFUSED, false },
    { "554", { .status = 554, .text = "" }, SEND_REFUSED, false },
    { "535", { .status = 535, .text = "5.7.8 bad login" }, SEND_REFUSED, true },
    { "a reset behind the data", { .end = EXCHANGE_UNKNOWN }, SEND_UNSURE, true },
    { "a refused connection", { .end = EXCHANGE_NOT_SENT }, SEND_RETRY, true },
    { "a time-out behind the data", { .status = 250, .after_ms = 1000 * 1000 }, SEND_UNSURE, true },
};

static void check_fault(const struct channel_driver *driver, const struct channel_case *one, size_t number,
                        struct buf *seen)
{
    struct arena *arena = arena_new(0);
    struct trial trial;

    test_begin("channel %s: mail at %s", driver->kind, faults[number].name);
    if (trial_begin(&trial, arena, driver, one)) {
        const struct exchange_mail *mail;

        trial.job.timeout_ms = JOB_MS;
        trial_mail_peer(&trial, &faults[number].step);
        trial_run(&trial);
        mail = script_mail_sent(trial.script, 0);
        if (!mail || mail->timeout_ms < 1 || mail->timeout_ms > JOB_MS)
            test_problem("no mail, or one that may take longer than the job");
        if (trial.outcome != faults[number].outcome)
            test_problem("outcome %d, wanted %d", trial.outcome, faults[number].outcome);
        if (!trial.result.hint.len || !trial.result.code.len)
            test_problem("neither a code nor a hint says what to do");
        if (trial.result.channel_fault != faults[number].is_fault)
            test_problem("it is %sthe channel's fault", faults[number].is_fault ? "" : "not ");
        trial_texts(&trial, seen);
    } else {
        test_problem("%s", trial.err.detail);
    }
    test_end();
    trial_end(&trial);
    arena_free(arena);
}

/* The same job twice is the same mail but for its boundaries: a resend can be told by its Message-ID. */
static void check_same(const struct channel_driver *driver, const struct channel_case *one, struct str text)
{
    static const struct script_mail yes = { .status = 250, .text = "ok" };
    struct arena *arena = arena_new(0);
    struct str ids[2] = { { 0 }, { 0 } };

    for (int i = 0; i < 2; i++) {
        const struct exchange_mail *mail;
        struct trial trial;

        if (!trial_begin(&trial, arena, driver, one))
            break;
        trial.job.text = text;
        trial.job.attempt = i + 1;
        trial_mail_peer(&trial, &yes);
        trial_run(&trial);
        mail = script_mail_sent(trial.script, 0);
        ids[i] = mail ? trial_mail_header(arena, mail->body, "Message-ID") : STR("");
        ids[i] = str_c(str_dup(arena, ids[i]));
        if (!mail || !str_eq(trial_mail_text(arena, mail->body), str_trim(text)))
            test_problem("the text does not arrive as it was");
        for (size_t k = 0; mail && k < mail->body.len; k++)
            if ((mail->body.data[k] == '\n') != (k > 0 && mail->body.data[k - 1] == '\r')) {
                test_problem("a bare CR or LF at byte %zu", k);
                break;
            }
        trial_end(&trial);
    }
    if (ids[0].len < 5 || !str_eq(ids[0], ids[1]))
        test_problem("the Message-ID is not the same on every try");
    arena_free(arena);
}

void check_mails(const struct channel_driver *driver, const struct channel_case *cases, size_t count, struct buf *seen)
{
    const struct channel_case *send = NULL;

    for (size_t i = 0; i < count && !send; i++)
        if (cases[i].call == CALL_SEND && cases[i].mail_count > 0)
            send = &cases[i];
    if (!send)
        return;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        check_fault(driver, send, i, seen);
    test_begin("channel %s: mails arrive unchanged, with one Message-ID", driver->kind);
    check_same(driver, send, STR(TRICKY));
    test_end();
}
