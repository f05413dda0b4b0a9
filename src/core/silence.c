#include "core/silence.h"

#include "base/arena.h"
#include "base/buf.h"

#define HOUR_MS 3600000LL
#define GAPS_LEAST 8                /* fewer tell nothing */
#define GAP_LEAST_S 60              /* signs of life are noted no more often */
#define GAP_MOST_S (7 * 86400LL)
#define WEIGHT 4                    /* a new gap counts a quarter */
#define TEXT_BYTES 512

static int hour_of(int64_t ms)
{
    return (int)(ms / HOUR_MS % SILENCE_HOURS);
}

struct silence silence_parse(struct str text)
{
    struct silence silence = { 0 };
    struct str part;
    int64_t number;

    if (!str_split(&text, ',', &part) || !str_int(part, 0, INT64_MAX, &silence.seen))
        return (struct silence){ 0 };
    for (int i = 0; i < SILENCE_HOURS; i++) {
        if (!str_split(&text, ',', &part) || !str_int(part, 0, GAP_MOST_S, &number))
            return (struct silence){ 0 };
        silence.gap_s[i] = number;
    }
    return silence;
}

const char *silence_text(struct arena *arena, const struct silence *silence)
{
    struct buf text;
    const char *out;

    buf_init(&text, TEXT_BYTES);
    buf_printf(&text, "%lld", (long long)silence->seen);
    for (int i = 0; i < SILENCE_HOURS; i++)
        buf_printf(&text, ",%lld", (long long)silence->gap_s[i]);
    out = str_dup(arena, buf_slice(&text));
    buf_fini(&text);
    return out;
}

void silence_heard(struct silence *silence, int64_t from_ms, int64_t to_ms)
{
    int64_t gap_s = (to_ms - from_ms) / 1000, hours = to_ms / HOUR_MS - from_ms / HOUR_MS;

    if (gap_s < 0)
        return;
    gap_s = gap_s < GAP_LEAST_S ? GAP_LEAST_S : gap_s > GAP_MOST_S ? GAP_MOST_S : gap_s;
    silence->seen++;
    for (int64_t i = 0; i <= hours && i < SILENCE_HOURS; i++) {
        int64_t *known = &silence->gap_s[hour_of(from_ms + i * HOUR_MS)];
        *known = *known ? *known + (gap_s - *known) / WEIGHT : gap_s;
    }
}

int64_t silence_due_ms(const struct silence *silence, int64_t heard_ms)
{
    int64_t due_ms = heard_ms, hour_ms = heard_ms;

    if (silence->seen < GAPS_LEAST)
        return INT64_MAX;
    for (int i = 0; i < SILENCE_HOURS && hour_ms <= due_ms; i++) {
        int64_t gap_s = silence->gap_s[hour_of(hour_ms)], next_ms = (hour_ms / HOUR_MS + 1) * HOUR_MS;
        /* an hour of which nothing is known may well be a silent one */
        int64_t end_ms = gap_s ? heard_ms + SILENCE_TIMES * gap_s * 1000 : next_ms;

        due_ms = end_ms > due_ms ? end_ms : due_ms;
        hour_ms = next_ms;
    }
    return due_ms;
}
