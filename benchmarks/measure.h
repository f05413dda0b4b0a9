/* measure.h - what the programs of the benchmark share: time, failures, percentiles, and the messages that all of them
 * store, the same for the hub, its peers and the raw databases. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Monotonic microseconds, and the time of day in milliseconds. */
int64_t now_us(void);
int64_t now_ms(void);

/* Print the sentence and end the program with status 1. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Latencies in microseconds; more than fit are left out. */
struct samples {
    uint32_t *us;
    size_t count, room;
};
void samples_init(struct samples *samples, size_t room);
void samples_add(struct samples *samples, int64_t us);
void samples_sort(struct samples *samples);
/* Milliseconds; `part` from 0 to 1; sorted before. 0 when there is none. */
double samples_at(const struct samples *samples, double part);

/* The message with this number: ids never repeat and come in no order, as those of providers do; 1,000 contacts take
 * turns; texts are 20 to 160 letters, some outside ASCII. */
#define SAMPLE_CONTACTS 1000
#define METADATA "{\"app\":\"benchmark\",\"sim\":1,\"battery\":87}"
struct sample {
    char id[20], from[16], text[400];
    int64_t sent_ms;                    /* whole seconds */
};
void sample_make(struct sample *sample, int64_t number);

/* The same message as the JSON body of POST /api/v1/messages; returns its length. */
size_t sample_json(char *out, size_t size, int64_t number, const char *channel);
