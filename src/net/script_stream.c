#include "net/script_inside.h"

#include "base/arena.h"
#include "base/limits.h"
#include "net/stream_inside.h"

#include <stdlib.h>
#include <string.h>

/* One line of the talk, in order. */
struct talk {
    enum script_line line;
    struct str text;
    size_t at;                  /* of what is said, read so far */
    struct talk *next;
};

struct script_stream {
    struct stream stream;       /* first */
    struct script *script;
    struct buf line;            /* written, without its end so far */
};

void script_add_line(struct script *script, enum script_line line, struct str text)
{
    struct talk *talk;

    pthread_mutex_lock(&script->lock);
    talk = arena_alloc(script->arena, sizeof *talk);
    talk->line = line;
    talk->text = (struct str){ str_dup(script->arena, text.data ? text : STR("")), text.len };
    *script->last_talk = talk;
    script->last_talk = &talk->next;
    if (!script->now_talk)
        script->now_talk = talk;
    pthread_mutex_unlock(&script->lock);
}

static bool fits(struct str wanted, struct str line)
{
    if (wanted.len > 0 && wanted.data[wanted.len - 1] == '*')
        return line.len >= wanted.len - 1 && memcmp(line.data, wanted.data, wanted.len - 1) == 0;
    return str_eq(wanted, line);
}

static int check_line(struct script *script, struct str line, struct err *err)
{
    const struct talk *talk = script->now_talk;

    if (talk && talk->line == SCRIPT_EXPECT && fits(talk->text, line)) {
        script->now_talk = talk->next;
        return 0;
    }
    script->surprise_count++;
    return err_set(err, ERR_INTERNAL, "The scripted peer expected \"%.*s\" and got \"%.*s\".",
                   talk ? (int)talk->text.len : 0, talk ? talk->text.data : "", (int)line.len, line.data);
}

static int script_write(struct stream *stream, struct str bytes, int timeout_ms, struct err *err)
{
    struct script_stream *one = (struct script_stream *)stream;
    int result = 0;

    (void)timeout_ms;
    pthread_mutex_lock(&one->script->lock);
    for (size_t i = 0; i < bytes.len && result == 0; i++) {
        if (bytes.data[i] != '\n') {
            buf_putc(&one->line, bytes.data[i]);
            continue;
        }
        if (one->line.len > 0 && one->line.data[one->line.len - 1] == '\r')
            one->line.len--;
        result = check_line(one->script, one->line.data ? buf_slice(&one->line) : STR(""), err);
        buf_clear(&one->line);
    }
    pthread_mutex_unlock(&one->script->lock);
    return result;
}

static int script_read(struct stream *stream, char *bytes, size_t size, int timeout_ms, struct err *err)
{
    struct script_stream *one = (struct script_stream *)stream;
    struct talk *talk;
    size_t part = 0;
    bool closes;

    (void)timeout_ms;
    pthread_mutex_lock(&one->script->lock);
    talk = one->script->now_talk;
    closes = talk && talk->line == SCRIPT_CLOSE;
    if (talk && talk->line == SCRIPT_SAY) {
        part = talk->text.len - talk->at < size ? talk->text.len - talk->at : size;
        memcpy(bytes, talk->text.data + talk->at, part);
        talk->at += part;
    }
    if (closes || (talk && talk->line == SCRIPT_SAY && talk->at == talk->text.len))
        one->script->now_talk = talk->next;
    pthread_mutex_unlock(&one->script->lock);
    return closes ? err_set(err, ERR_UNAVAILABLE, "The other side closed the stream.") : (int)part;
}

static void script_release(struct stream *stream, bool keep)
{
    struct script_stream *one = (struct script_stream *)stream;

    pthread_mutex_lock(&one->script->lock);
    one->script->kept = keep;
    pthread_mutex_unlock(&one->script->lock);
    buf_fini(&one->line);
    stream_fini(stream);
    free(one);
}

static const struct stream_kind script_kind = { script_write, script_read, script_release };

struct stream *script_stream_open(struct exchange *self, const struct stream_request *request, struct err *err)
{
    struct script *script = (struct script *)self;
    struct script_stream *one = NULL;
    struct talk *talk;
    bool refuses;

    (void)request;
    pthread_mutex_lock(&script->lock);
    talk = script->now_talk;
    refuses = talk && talk->line == SCRIPT_REFUSE;
    if (refuses) {
        script->now_talk = talk->next;
        err_set(err, ERR_UNAVAILABLE, "%s", talk->text.data);
    } else if (!talk) {
        script->surprise_count++;
        err_set(err, ERR_INTERNAL, "The scripted peer expected no stream.");
    } else {
        one = mem_alloc(sizeof *one);
        one->script = script;
        stream_init(&one->stream, &script_kind);
        one->stream.fresh = !script->kept;
        script->kept = false;
        buf_init(&one->line, LIMIT_EXCHANGE_BYTES);
    }
    pthread_mutex_unlock(&script->lock);
    return one ? &one->stream : NULL;
}

size_t script_stream_left(const struct script *script)
{
    size_t left = 0;

    for (const struct talk *talk = script->now_talk; talk; talk = talk->next)
        left++;
    return left;
}
