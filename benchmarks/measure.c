#include "measure.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FIRST_SENT_S 1767225600     /* 2026-01-01T00:00:00Z */

int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

/* --- Samples ------------------------------------------------------------------------------------------------------ */

void samples_init(struct samples *samples, size_t room)
{
    samples->us = calloc(room, sizeof *samples->us);
    samples->count = 0;
    samples->room = room;
    if (!samples->us)
        fail("no memory for %zu samples", room);
}

void samples_add(struct samples *samples, int64_t us)
{
    if (samples->count < samples->room)
        samples->us[samples->count++] = (uint32_t)us;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

void samples_sort(struct samples *samples)
{
    qsort(samples->us, samples->count, sizeof *samples->us, compare);
}

double samples_at(const struct samples *samples, double part)
{
    size_t index = (size_t)((double)samples->count * part);

    if (!samples->count)
        return 0;
    return samples->us[index < samples->count ? index : samples->count - 1] / 1000.0;
}

/* --- Messages ----------------------------------------------------------------------------------------------------- */

/* splitmix64: a different result for every number. */
static uint64_t scatter(uint64_t number)
{
    number += 0x9e3779b97f4a7c15;
    number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9;
    number = (number ^ number >> 27) * 0x94d049bb133111eb;
    return number ^ number >> 31;
}

static void write_text(char *text, uint64_t random)
{
    static const char *const words[] = {
        "hello", "can", "you", "call", "me", "back", "about", "the", "order", "tomorrow", "at", "noon", "please",
        "für", "morgen", "danke", "café", "déjà", "délai", "price", "of", "the", "blue", "one", "yes", "ok", "see",
        "you", "soon", "what", "is", "new",
    };
    size_t wanted = 20 + random % 141, length = 0;

    while (length < wanted) {
        const char *word = words[random >> 59];
        size_t size = strlen(word);

        memcpy(text + length, word, size);
        length += size;
        text[length++] = ' ';
        random = scatter(random);
    }
    /* every eighth ends with a character that UTF-16 needs two units for */
    memcpy(text + length - 1, wanted % 8 ? "" : " 👍", wanted % 8 ? 1 : sizeof " 👍");
}

void sample_make(struct sample *sample, int64_t number)
{
    uint64_t random = scatter((uint64_t)number);

    snprintf(sample->id, sizeof sample->id, "%016llx", (unsigned long long)random);
    snprintf(sample->from, sizeof sample->from, "+1202555%04d", (int)(number * 7919 % SAMPLE_CONTACTS));
    write_text(sample->text, random);
    sample->sent_ms = (FIRST_SENT_S + number / 100) * 1000;
}

size_t sample_json(char *out, size_t size, int64_t number, const char *channel)
{
    struct sample sample;
    struct tm sent;
    time_t sent_s;
    int length;

    sample_make(&sample, number);
    sent_s = sample.sent_ms / 1000;
    gmtime_r(&sent_s, &sent);
    length = snprintf(out, size,
                      "{\"id\":\"%s\",\"from\":\"%s\",\"text\":\"%s\",\"type\":\"sms\",\"channel\":\"%s\","
                      "\"sent_at\":\"%04d-%02d-%02dT%02d:%02d:%02dZ\",\"metadata\":" METADATA "}",
                      sample.id, sample.from, sample.text, channel, sent.tm_year + 1900, sent.tm_mon + 1, sent.tm_mday,
                      sent.tm_hour, sent.tm_min, sent.tm_sec);
    if (length < 0 || (size_t)length >= size)
        fail("a message does not fit into %zu bytes", size);
    return (size_t)length;
}
