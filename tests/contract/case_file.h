/* case_file.h - the text files under tests/channels/<kind>/ that say what a channel driver must do.
 *
 * One file holds any number of cases; each begins with a `name` line. A line is a word and what it
 * says; # begins a comment line; a token may be quoted ("a b", with \" \\ \n \t \xHH). $setting,
 * $hook and $key stand for their values; the JSON after `body` and `reply` is taken as it is.
 *
 *   name     TEXT                          what is shown; the first line of a case
 *   setting  base_url=http://p token=s3    the channel's settings, checked by the driver's table
 *   region   GB                            its country (US)
 *   public   https://hub.test              the hub's public URL; - for none (https://hub.test)
 *   now      2024-06-22T08:46:11Z          the hub's clock, for signatures
 *
 *   send     to=+15550002 text="a b"       also key= attempt= part= parts= reply_to= timeout_ms= metadata= thread=
 *                                          thread_id= automatic=yes; an act on a
 *                                          message: act=reaction|edit|delete|read|typing target= conversation=;
 *                                          a file: file=NAME type= data= url=
 *                                          metadata=
 *   lookup   (the same)                    also since=TIME; `poll cursor=... start=yes`, `probe`,
 *                                          `fetch ref=... type=... name=... size=...`
 *   expect   POST URL header Authorization=Basic* json textMessage.text=hello form a=b part file=bytes part
 *                                          file.name=a.png part file.type=image/png (multipart/form-data)
 *   reply    202 header Retry-After=7 {"id":"x"}      or: reset, refused, timeout; one per expect
 *   mail     to=a@b.test header.Subject=Hi text="a\nb"    a mail is submitted; also from= url= user= body~=; its reply
 *                                          is `reply 250 what the server says`; to=- is a login without a mail
 *   c:       h1 EXAMINE "INBOX"            a line that the driver writes to its stream (its beginning, with * at the
 *                                          end), and
 *   s:       * 3 EXISTS                    a line that it reads. In quotes escapes are worked out
 *   m:       Subject: Hi                   lines of a literal, whose {size} stands at the end of the s: line before
 *   stream   closed                        or: stream refused WHY (instead of being opened)
 *   outcome  done id=x                     retry, refused, unsure; attributes of the result
 *   report   version=1.2                   what a probe says; summary~=word
 *
 *   receive  POST /path?a=b                below /hooks/<hook>; then its header and body lines
 *   header   X-Signature: 12ab
 *   body     {"event":"x"}                 several are joined by a newline
 *   sign     X-Signature signing_key body header:X-Timestamp   adds the lower-case hex HMAC-SHA256; `url` is the
 *                                          public URL asked for, `form` the body's sorted pairs; as:sha256=hex sets
 *                                          "sha256=" before it, as:sha1-base64 makes it base64 of HMAC-SHA1,
 *                                          as:sha256-base64 base64; the part text:X stands for X
 *   signed   X-Signature body              the header above already is one: every flipped bit of it
 *                                          and of the body must be refused
 *   proof    X-Secret                      the header above is a secret, whatever the body says: every
 *                                          flipped bit of it must be refused
 *   unnumbered                             the sender gives no id, each delivery is a message
 *   unsigned                               the sender signs nothing: the hook's own path is the secret
 *   event    message address=+1 text=hi    one line per event, in order: message, own_message,
 *                                          receipt, edit, delete, reaction, opt_out, opt_in, moved, ignored;
 *                                          files=2 file.name= file.type= file.ref= file.data= file2.name= ...
 *   answer   200 body~=ok                  what the sender hears
 *   fetched  200 body=bytes type=image/png what a fetch brought
 *   cursor   VALUE                         where a poll stands afterwards
 *   error    forbidden hint~=signing_key   instead of outcome, event, report: it fails like that
 *
 * An attribute is name=value (equal), name~=value (contains) or name=* (there is one). */
#pragma once

#include "base/err.h"
#include "core/channel.h"
#include "net/script.h"

#define CASE_PAIRS 24
#define CASE_LINES 12
#define CASE_TALK 200

/* "name=value" as it stood; `op` is '=' or '~'. */
struct pair {
    struct str name, value;
    char op;
};

struct pairs {
    struct pair items[CASE_PAIRS];
    size_t count;
};

enum case_call { CALL_NONE, CALL_SEND, CALL_LOOKUP, CALL_RECEIVE, CALL_POLL, CALL_PROBE, CALL_FETCH, CALLS };

struct expected {
    struct script_step step;            /* method, url and the reply */
    struct pairs headers, form, json, parts;
};

struct expected_mail {
    struct script_mail step;
    struct pairs pairs;
};

struct talk_line {
    enum script_line line;
    struct str text;
};

struct expected_event {
    const char *kind;
    struct pairs pairs;
};

/* How the request is signed: where, with which setting, over what. */
struct signature {
    const char *header, *setting;       /* setting NULL: the header is given, only marked */
    const char *parts[4];               /* "body", "header:NAME", "url", "form" */
    size_t part_count;
    const char *as;                     /* "sha1-base64", "sha256-base64", "sha256=hex", or NULL */
};

struct inbound {
    enum http_method method;
    const char *target;
    struct pairs headers;
    struct str body;
    struct signature signature;
    const char *proof;                  /* the header that is a secret, or NULL */
};

struct channel_case {
    const char *file, *name, *region, *public_url;
    int line;
    int64_t now_ms;
    struct pairs settings;
    enum case_call call;
    bool unnumbered, is_unsigned;
    struct pairs given;                 /* send, lookup, poll */
    struct inbound inbound;
    struct expected expected[CASE_LINES];
    size_t expected_count;
    struct expected_mail mails[CASE_LINES];
    size_t mail_count;
    struct talk_line *talk;             /* in order */
    size_t talk_count;
    bool last_is_mail;                  /* what a reply line belongs to */
    const char *outcome, *error, *cursor, *answer, *fetched;
    struct pairs outcome_pairs, error_pairs, answer_pairs, report_pairs, fetched_pairs;
    struct expected_event events[CASE_LINES];
    size_t event_count;
};

/* Read a file's cases into the arena. Returns their number, or -1 with the file, line and
 * reason. */
int case_file_read(struct arena *arena, const char *path, struct channel_case **cases,
                   struct err *err);

/* The value of an attribute, or the absent slice. */
struct str case_value(const struct pairs *pairs, const char *name);

/* Does what was found fit the attribute? */
bool case_fits(const struct pair *pair, struct str found);
