#include "net/exchange.h"

#include "base/limits.h"

#include <string.h>
#include <time.h>

#define HTTP_DATE_CHARS 29      /* "Sun, 06 Nov 1994 08:49:37 GMT" */

static _Thread_local const atomic_bool *interrupt;

void exchange_interrupted_by(const atomic_bool *flag)
{
    interrupt = flag;
}

bool exchange_interrupted(void)
{
    return interrupt && atomic_load(interrupt);
}

static struct str find(const struct http_header *headers, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (str_eq_nocase(headers[i].name, str_c(name)))
            return headers[i].value;
    }
    return (struct str){ 0 };
}

struct str exchange_header(const struct exchange_reply *reply, const char *name)
{
    return find(reply->headers, reply->header_count, name);
}

struct str exchange_request_header(const struct exchange_request *request, const char *name)
{
    return find(request->headers, request->header_count, name);
}

static bool number_at(struct str text, size_t at, size_t digits, int *value)
{
    int64_t number;

    if (!str_int((struct str){ text.data + at, digits }, 0, 9999, &number))
        return false;
    *value = (int)number;
    return true;
}

/* The one date form that HTTP still allows to be sent; the two obsolete ones count as no date. */
static bool http_date(struct str text, int64_t *seconds)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm tm = { 0 };
    int month = 0;

    if (text.len != HTTP_DATE_CHARS || memcmp(text.data + 25, " GMT", 4) != 0)
        return false;
    while (month < 12 && memcmp(months + (size_t)month * 3, text.data + 8, 3) != 0)
        month++;
    if (month == 12 || !number_at(text, 5, 2, &tm.tm_mday) || !number_at(text, 12, 4, &tm.tm_year) ||
        !number_at(text, 17, 2, &tm.tm_hour) || !number_at(text, 20, 2, &tm.tm_min) ||
        !number_at(text, 23, 2, &tm.tm_sec))
        return false;
    tm.tm_mon = month;
    tm.tm_year -= 1900;
    *seconds = timegm(&tm);
    return true;
}

int exchange_retry_after_s(struct str value, int64_t now_ms)
{
    int64_t seconds = 0, at;
    struct str text = str_trim(value);

    if (!text.data)
        return 0;
    if (!str_int(text, 0, INT64_MAX, &seconds) && http_date(text, &at))
        seconds = at - now_ms / 1000;
    if (seconds < 0)
        return 0;
    return seconds > LIMIT_RETRY_AFTER_S ? LIMIT_RETRY_AFTER_S : (int)seconds;
}

void exchange_mail_run(struct exchange *self, struct arena *arena, const struct exchange_mail *mail,
                       struct exchange_reply *reply)
{
    if (self->mail) {
        self->mail(self, arena, mail, reply);
        return;
    }
    *reply = (struct exchange_reply){ .end = EXCHANGE_NOT_SENT };
    err_set(&reply->err, ERR_UNAVAILABLE, "This way out takes no mail; nothing was sent.");
}

struct stream *exchange_open(struct exchange *self, const struct stream_request *request, struct err *err)
{
    if (self->open)
        return self->open(self, request, err);
    err_set(err, ERR_UNAVAILABLE, "This way out opens no streams.");
    return NULL;
}
