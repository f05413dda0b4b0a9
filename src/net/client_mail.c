/* Mail by SMTP submission. What the server answered is read line by line, because the library's own result says too
 * little: a refusal is judged by its code, and whether the end of the data went out decides between "surely not sent"
 * and "not known". */
#include "net/client_inside.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"

#include <string.h>

#define TEXT_MAX 2048
#define CODE_DATA 354           /* "go ahead": only now the mail itself leaves */
#define CODE_ERROR 400
#define CODE_BYE 221            /* the answer to QUIT, also behind a refusal: it would hide that */
#define QUIT_US 1000000         /* a server that does not answer QUIT holds us no longer */

struct mail {
    struct client_guard guard;
    const struct exchange_mail *given;
    size_t at;                  /* of the body, handed to the library */
    int code;                   /* of the last whole answer before the end of the data was answered */
    bool whole;                 /* the last line ended an answer */
    bool data;                  /* 354 came */
    bool ended;                 /* the answer after it came */
    struct buf text;            /* of the answer that `code` is from */
    int64_t deadline_us;
};

static size_t take_line(char *data, size_t size, size_t count, void *arg)
{
    struct mail *mail = arg;
    struct str line = str_trim((struct str){ data, size * count });
    int64_t code;

    if (mail->ended || line.len < 3 || !str_int((struct str){ line.data, 3 }, 100, 599, &code) || code == CODE_BYE)
        return size * count;
    if (mail->whole)
        buf_clear(&mail->text);
    mail->whole = line.len == 3 || line.data[3] == ' ';
    if (mail->text.len > 0)
        buf_putc(&mail->text, ' ');
    if (line.len > 4)
        buf_add(&mail->text, line.data + 4, line.len - 4);
    if (!mail->whole)
        return size * count;
    mail->code = (int)code;
    mail->ended = mail->data;
    mail->data |= code == CODE_DATA;
    return size * count;
}

static size_t give_body(char *data, size_t size, size_t count, void *arg)
{
    struct mail *mail = arg;
    size_t left = mail->given->body.len - mail->at, room = size * count, part = left < room ? left : room;

    memcpy(data, mail->given->body.data + mail->at, part);
    mail->at += part;
    return part;
}

static size_t drop_body(char *data, size_t size, size_t count, void *arg)
{
    (void)data, (void)arg;
    return size * count;
}

/* The library's own deadline does not hold while it says goodbye. */
static int watch(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    struct mail *mail = arg;

    (void)a, (void)b, (void)c, (void)d;
    return clock_mono_us() > mail->deadline_us;
}

/* Envelope addresses stand in command lines. */
static bool address_clean(const char *address)
{
    for (const char *c = address; *c; c++)
        if ((unsigned char)*c <= ' ' || *c == 0x7f || *c == '<' || *c == '>')
            return false;
    return strlen(address) <= LIMIT_ADDRESS_BYTES;
}

static bool login_clean(const char *text)
{
    return !text || !strpbrk(text, "\r\n");
}

static int check(const struct exchange_mail *mail, struct err *err)
{
    if (!mail->from || !address_clean(mail->from) || (mail->to && (!address_clean(mail->to) || !*mail->to)))
        return err_set(err, ERR_INVALID, "An address of the mail is not one that can stand in an envelope.");
    if (!login_clean(mail->user) || !login_clean(mail->password) || !login_clean(mail->bearer))
        return err_set(err, ERR_INVALID, "The user name or the password holds a line break.");
    if (mail->body.len > LIMIT_MAIL_BYTES)
        return err_set(err, ERR_TOO_LARGE, "The mail is larger than %d MiB.", LIMIT_MAIL_BYTES >> 20);
    return 0;
}

/* Who we say we are: what the URL names, else the sender's domain. The library would take this machine's name. */
static void set_greeting(CURLU *url, const struct exchange_mail *mail)
{
    const char *domain = strrchr(mail->from, '@');
    char *path = NULL, name[300] = "/localhost";

    if (curl_url_get(url, CURLUPART_PATH, &path, 0) == CURLUE_OK && path && strlen(path) > 1) {
        curl_free(path);
        return;
    }
    curl_free(path);
    if (domain && domain[1] && strlen(domain) < 256 &&
        strspn(domain + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == strlen(domain + 1)) {
        name[1] = '\0';
        strncat(name, domain + 1, 256);
    }
    curl_url_set(url, CURLUPART_PATH, name, 0);
}

static void set_options(struct mail *mail, CURL *easy, CURLU *url, struct curl_slist *to)
{
    const struct exchange_mail *given = mail->given;
    int timeout_ms = given->timeout_ms > 0 && given->timeout_ms < LIMIT_SEND_MS ? given->timeout_ms : LIMIT_SEND_MS;

    mail->deadline_us = clock_mono_us() + timeout_ms * 1000LL + QUIT_US;
    client_guard_set(&mail->guard, easy);
    curl_easy_setopt(easy, CURLOPT_CURLU, url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(easy, CURLOPT_USE_SSL, (long)(given->plain ? CURLUSESSL_TRY : CURLUSESSL_ALL));
    if (given->user)
        curl_easy_setopt(easy, CURLOPT_USERNAME, given->user);
    if (given->password && !given->bearer)
        curl_easy_setopt(easy, CURLOPT_PASSWORD, given->password);
    if (given->bearer)
        curl_easy_setopt(easy, CURLOPT_XOAUTH2_BEARER, given->bearer);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_line);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, mail);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, drop_body);
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, watch);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, mail);
    if (!to) {
        curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
        return;
    }
    if (*given->from)
        curl_easy_setopt(easy, CURLOPT_MAIL_FROM, given->from);
    curl_easy_setopt(easy, CURLOPT_MAIL_RCPT, to);
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, give_body);
    curl_easy_setopt(easy, CURLOPT_READDATA, mail);
    curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)given->body.len);
}

static void judge(struct mail *mail, CURLcode code, struct arena *arena, struct exchange_reply *reply)
{
    bool refused = code != CURLE_OK && mail->code >= CODE_ERROR;

    if (mail->ended || refused || (code == CURLE_OK && !mail->given->to)) {
        reply->end = EXCHANGE_ANSWERED;
        reply->status = mail->code;
        reply->body = (struct str){ arena_copy(arena, mail->text.data ? mail->text.data : "", mail->text.len),
                                    mail->text.len };
    } else if (mail->data && mail->at == mail->given->body.len) {
        reply->end = EXCHANGE_UNKNOWN;
        err_set(&reply->err, code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_UNAVAILABLE,
                "The whole mail was handed to the server, but %s.",
                code == CURLE_OPERATION_TIMEDOUT ? "it did not answer in time"
                                                 : "the connection ended before its answer");
    } else {
        client_guard_explain(&mail->guard, code, &reply->err);
    }
}

static void submit(struct mail *mail, CURLU *url, struct arena *arena, struct exchange_reply *reply)
{
    CURL *easy = curl_easy_init();
    struct curl_slist *to = NULL;

    if (!easy)
        mem_exhausted(0);
    if (mail->given->to && !(to = curl_slist_append(NULL, mail->given->to)))
        mem_exhausted(0);
    set_greeting(url, mail->given);
    set_options(mail, easy, url, to);
    judge(mail, curl_easy_perform(easy), arena, reply);
    curl_easy_cleanup(easy);
    curl_slist_free_all(to);
}

void client_mail(struct exchange *self, struct arena *arena, const struct exchange_mail *given,
                 struct exchange_reply *reply)
{
    static const char *const schemes[] = { "smtp", "smtps", NULL };
    struct mail mail = { .given = given, .whole = true, .guard = { .client = (struct client *)self,
        .egress = given->egress, .tenant_id = given->tenant_id } };
    CURLU *url;

    *reply = (struct exchange_reply){ .end = EXCHANGE_NOT_SENT };
    if (check(given, &reply->err))
        return;
    client_guard_init();
    url = client_guard_url(given->url, schemes);
    if (!url) {
        err_set(&reply->err, ERR_INVALID, "The address of the mail server is not a valid smtp or smtps URL.");
        err_hint(&reply->err, "Write it like smtp://mail.example.com:587 or smtps://mail.example.com:465.");
        return;
    }
    buf_init(&mail.text, TEXT_MAX);
    submit(&mail, url, arena, reply);
    buf_fini(&mail.text);
    curl_url_cleanup(url);
}
