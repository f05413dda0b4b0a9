#include "base/clock.h"

#include "base/arena.h"

#include <time.h>

#define DAY_S 86400
#define SECONDS_BELOW 100000000000  /* as milliseconds this is 1973: smaller ones are seconds */

static int64_t real_wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t real_mono_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t (*wall)(void) = real_wall_ms;
static int64_t (*mono)(void) = real_mono_us;

int64_t clock_ms(void)
{
    return wall();
}

int64_t clock_mono_us(void)
{
    return mono();
}

void clock_install(int64_t (*wall_ms)(void), int64_t (*mono_us)(void))
{
    wall = wall_ms ? wall_ms : real_wall_ms;
    mono = mono_us ? mono_us : real_mono_us;
}

static void digits(char *out, int64_t number, int count)
{
    while (count-- > 0) {
        out[count] = (char)('0' + number % 10);
        number /= 10;
    }
}

/* Days since 1970-01-01 to a civil date and back, by counting in 400-year eras that begin on 1
 * March. */
static void civil_from_days(int64_t days, int64_t *year, int64_t *month, int64_t *day)
{
    int64_t shifted = days + 719468, era = shifted / 146097, of_era = shifted % 146097;
    int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t march_month = (5 * of_year + 2) / 153;

    *day = of_year - (153 * march_month + 2) / 5 + 1;
    *month = march_month < 10 ? march_month + 3 : march_month - 9;
    *year = year_of_era + era * 400 + (*month <= 2);
}

static int64_t days_from_civil(int64_t year, int64_t month, int64_t day)
{
    int64_t shifted = year - (month <= 2), era = shifted / 400, year_of_era = shifted % 400;
    int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;

    return era * 146097 + of_era - 719468;
}

char *clock_iso_into(char out[CLOCK_ISO_BYTES], int64_t ms)
{
    static const char shape[CLOCK_ISO_BYTES] = "0000-00-00T00:00:00.000Z";
    int64_t year, month, day, second;

    if (ms < 0)
        ms = 0;
    if (ms > CLOCK_MAX_MS)
        ms = CLOCK_MAX_MS;
    for (size_t at = 0; at < CLOCK_ISO_BYTES; at++)
        out[at] = shape[at];
    second = ms / 1000 % DAY_S;
    civil_from_days(ms / 1000 / DAY_S, &year, &month, &day);
    digits(out, year, 4);
    digits(out + 5, month, 2);
    digits(out + 8, day, 2);
    digits(out + 11, second / 3600, 2);
    digits(out + 14, second / 60 % 60, 2);
    digits(out + 17, second % 60, 2);
    digits(out + 20, ms % 1000, 3);
    return out;
}

const char *clock_iso(struct arena *arena, int64_t ms)
{
    return clock_iso_into(arena_alloc(arena, CLOCK_ISO_BYTES), ms);
}

/* Take exactly `count` digits off the front of `s`. */
static bool take_number(struct str *s, size_t count, int64_t *number)
{
    *number = 0;
    if (s->len < count)
        return false;
    for (size_t at = 0; at < count; at++) {
        if (s->data[at] < '0' || s->data[at] > '9')
            return false;
        *number = *number * 10 + (s->data[at] - '0');
    }
    s->data += count;
    s->len -= count;
    return true;
}

static bool take_char(struct str *s, char a, char b)
{
    if (s->len == 0 || (s->data[0] != a && s->data[0] != b))
        return false;
    s->data++;
    s->len--;
    return true;
}

static bool take_date(struct str *s, int64_t *days)
{
    static const unsigned char lengths[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int64_t year, month, day;
    bool leap;

    if (!take_number(s, 4, &year) || !take_char(s, '-', '-') || !take_number(s, 2, &month)
        || !take_char(s, '-', '-') || !take_number(s, 2, &day))
        return false;
    leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (year < 1970 || month < 1 || month > 12 || day < 1
        || day > lengths[month - 1] + (month == 2 && leap))
        return false;
    *days = days_from_civil(year, month, day);
    return true;
}

/* Seconds may be left out (ISO 8601), 60 is a leap second, more than milliseconds is dropped. */
static bool take_time(struct str *s, int64_t *ms)
{
    int64_t hour, minute, second = 0, fraction = 0, digit;

    if (!take_number(s, 2, &hour) || !take_char(s, ':', ':') || !take_number(s, 2, &minute))
        return false;
    if (take_char(s, ':', ':')) {
        if (!take_number(s, 2, &second))
            return false;
        if (take_char(s, '.', ',')) {
            if (!take_number(s, 1, &digit))
                return false;
            fraction = digit * 100;
            for (int64_t weight = 10; take_number(s, 1, &digit); weight /= 10)
                fraction += digit * weight;
        }
    }
    if (hour > 23 || minute > 59 || second > 60)
        return false;
    *ms = ((hour * 60 + minute) * 60 + second) * 1000 + fraction;
    return true;
}

static bool take_zone(struct str *s, int64_t *minutes)
{
    int64_t hour, minute;
    bool west;

    *minutes = 0;
    if (take_char(s, 'Z', 'z'))
        return true;
    west = take_char(s, '-', '-');
    if (!west && !take_char(s, '+', '+'))
        return false;
    if (!take_number(s, 2, &hour))
        return false;
    take_char(s, ':', ':');
    if (!take_number(s, 2, &minute) || hour > 23 || minute > 59)
        return false;
    *minutes = (hour * 60 + minute) * (west ? -1 : 1);
    return true;
}

bool clock_parse(struct str text, int64_t *ms, int *offset_min)
{
    int64_t number, days, of_day, zone = 0;

    if (str_int(text, 0, CLOCK_MAX_MS, &number)) {
        number *= number < SECONDS_BELOW ? 1000 : 1;
    } else {
        if (!take_date(&text, &days) || (!take_char(&text, 'T', 't') && !take_char(&text, ' ', ' '))
            || !take_time(&text, &of_day) || !take_zone(&text, &zone) || text.len > 0)
            return false;
        number = days * DAY_S * 1000 + of_day - zone * 60000;
        if (number < 0 || number > CLOCK_MAX_MS)
            return false;
    }
    *ms = number;
    if (offset_min)
        *offset_min = (int)zone;
    return true;
}
