#include "api/api.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "base/sign.h"
#include "cli/command.h"
#include "cli/lib/folder.h"
#include "cli/lib/print.h"
#include "cli/lib/settings.h"
#include "core/config.h"
#include "core/egress.h"
#include "core/worker.h"
#include "net/client.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define STOP_MS (LIMIT_SHUTDOWN_MS - 4000)      /* the server, the API and the database have some time of their own */
#define STOP_LAST_MS (LIMIT_SHUTDOWN_MS - LIMIT_LOG_STOP_MS - 500)

static const char usage[] = "serve [--data DIR] [--listen ADDRESS:PORT] [--database-url URL] [...]";

/* What runs while the server runs; NULL where it was not opened. */
struct serving {
    struct arena *arena;
    struct config *config;
    struct hub hub;
    struct client *client;
    struct api *api;
    struct http_server *server;
    struct workers *workers;
    int lock;
};

static bool is_loopback(const char *listen)
{
    return !strncmp(listen, "127.", 4) || !strncmp(listen, "[::1]", 5) || !strncmp(listen, "localhost:", 10)
        || !strcmp(listen, "none");
}

static int open_server(struct serving *serving, struct err *err)
{
    const struct config *config = serving->config;
    const char *listen = config_text(config, "listen"), *socket = config_text(config, "socket");
    struct http_options options = {
        .listen = strcmp(listen, "none") ? listen : NULL,
        .socket_path = socket ? socket : arena_printf(serving->arena, "%s/hub.sock", config_text(config, "data")),
        .event_threads = (int)config_number(config, "event-threads"),
        .workers = (int)config_number(config, "workers"),
        .body_max = LIMIT_BATCH_BYTES,
        .connections_per_address = (int)config_number(config, "connections-per-address"),
        .body_max_of = api_body_max,
        .respond = api_respond,
    };

    serving->api = api_open(&serving->hub, err);
    if (!serving->api)
        return -1;
    options.arg = serving->api;
    serving->server = http_start(&options, err);
    if (!serving->server)
        return -1;
    api_serve(serving->api, serving->server);
    return 0;
}

static void begin_log(const struct config *config, const unsigned char personal_key[SIGN_KEY_BYTES])
{
    static const char *const levels[] = { "debug", "info", "warn", "error" };
    enum log_level level = LOG_INFO;

    for (size_t i = 0; i < 4; i++)
        if (!strcmp(config_text(config, "log-level"), levels[i]))
            level = (enum log_level)i;
    log_start(STDERR_FILENO, !strcmp(config_text(config, "log-format"), "json"), level, personal_key);
}

/* What a channel may start is the operator's choice alone, never that of whoever adds channels. */
static void set_programs(struct serving *serving)
{
    const char *folder = config_text(serving->config, "exec-folder"), *data = config_text(serving->config, "data");
    struct arena *arena = arena_new(0);

    client_programs(serving->client, folder ? folder : arena_printf(arena, "%s/exec", data ? data : "data"));
    arena_free(arena);
}

static int open_all(struct serving *serving, struct err *err)
{
    const char *listen = config_text(serving->config, "listen");
    unsigned char early_key[SIGN_KEY_BYTES];

    if (config_flag(serving->config, "dev-no-auth") && !is_loopback(listen)) {
        err_set(err, ERR_INVALID, "--dev-no-auth works on loopback only, not on %s.", listen);
        return err_hint(err, "Listen on 127.0.0.1, or leave --dev-no-auth away and use a key.");
    }
    serving->lock = folder_open(serving->config, err);
    if (serving->lock < 0)
        return -1;
    serving->client = client_new(egress_allows, &serving->hub);
    set_programs(serving);
    serving->hub.config = serving->config;
    serving->hub.exchange = client_exchange(serving->client);
    id_random(early_key, sizeof early_key);     /* the hub's own comes with its secrets, from the database */
    begin_log(serving->config, early_key);
    if (hub_open(&serving->hub, err))
        return -1;
    log_stop();
    begin_log(serving->config, serving->hub.log_key);
    if (open_server(serving, err))
        return -1;
    serving->workers = workers_start(&serving->hub, err);
    return serving->workers ? 0 : -1;
}

/* Whoever comes second waits for the first to end the process. */
static void end_log(void)
{
    static atomic_flag ending = ATOMIC_FLAG_INIT;

    while (atomic_flag_test_and_set(&ending))
        pause();
    log_stop();
}

/* Something still uses the hub and would use it after it is gone. What is committed is safe; a lease that is left runs
 * out, and whoever works next takes over. */
static _Noreturn void leave(const char *what)
{
    log_warn("stopped while something was under way; it is taken up again later", LOG_T("what", what));
    end_log();
    _exit(0);
}

/* A database that no longer answers holds the threads that asked it; joining them would outlast the time there is. */
static void *leave_late(void *arg)
{
    struct timespec wait = { STOP_LAST_MS / 1000, STOP_LAST_MS % 1000 * 1000000L };

    (void)arg;
    nanosleep(&wait, NULL);
    leave("a call of the database");
    return NULL;
}

static void watch_stop(void)
{
    pthread_t thread;

    if (!pthread_create(&thread, NULL, leave_late, NULL))
        pthread_detach(thread);
}

static void close_all(struct serving *serving)
{
    int64_t until_us = clock_mono_us() + STOP_MS * INT64_C(1000), left_ms;

    api_stop(serving->api);
    if (serving->server)
        http_stop(serving->server, STOP_MS / 2);
    left_ms = (until_us - clock_mono_us()) / 1000;
    if (serving->workers && !workers_stop(serving->workers, left_ms > 0 ? (int)left_ms : 0))
        leave("a send or an agent");
    if (!api_close(serving->api))
        leave("a call");
    if (serving->hub.db)
        hub_close(&serving->hub);
    client_free(serving->client);
    end_log();
    if (serving->lock >= 0)
        close(serving->lock);
    arena_free(serving->arena);
}

/* The lines a person needs, and at the first start the key that makes the first admin key; never again. */
static void announce(const struct serving *serving)
{
    const char *public_url = config_text(serving->config, "public-url");
    const char *listen = config_text(serving->config, "listen");
    const char *colon = strrchr(listen, ':');
    char url[256];

    if (public_url)
        snprintf(url, sizeof url, "%s", public_url);
    else
        snprintf(url, sizeof url, "http://%.*s:%d", colon && colon != listen ? (int)(colon - listen) : 9,
                 colon && colon != listen ? listen : "127.0.0.1", http_port(serving->server));
    if (!strcmp(listen, "none"))
        printf("Message Hub is ready on its socket.");
    else
        printf("Message Hub is ready at %s", url);
    if (serving->hub.link[0])
        printf("  one-time admin key: %s", serving->hub.link);
    putchar('\n');
    if (config_flag(serving->config, "dev-no-auth"))
        puts("WARNING: --dev-no-auth: every program on this machine is an admin.");
    fflush(stdout);
}

/* One file descriptor per client, and the soft limit is often 1024. */
static void raise_file_limit(void)
{
    struct rlimit limit;

    if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max > 65536 ? 65536 : limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int run_serve(int argc, char **argv)
{
    static const char *const known[] = { NULL };
    struct serving serving = { .arena = arena_new(0), .lock = -1 };
    struct config_words rest;
    struct err err = { 0 };
    sigset_t signals;
    int received, status = settings_read(serving.arena, argc, argv, &serving.config, &rest);

    if (!status && rest.count)
        status = settings_unknown(rest.words[0], known, usage);
    if (status) {
        arena_free(serving.arena);
        return status;
    }
    raise_file_limit();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);       /* a file at its limit is an error of that write */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    if (open_all(&serving, &err)) {
        close_all(&serving);
        return print_failure(&err);
    }
    announce(&serving);
    log_info("started", LOG_T("version", HUB_VERSION), LOG_T("listen", config_text(serving.config, "listen")),
             LOG_N("port", http_port(serving.server)), LOG_N("pid", getpid()));
    sigwait(&signals, &received);
    log_info("stopping", LOG_N("signal", received));
    watch_stop();
    close_all(&serving);
    return 0;
}

const struct command command_serve = {
    .name = "serve",
    .summary = "Run the hub.",
    .usage = usage,
    .help = "Starts with no configuration on an SQLite database in ./data. The first start prints a one-time\n"
            "admin key. `message-hub config show --origin` shows what the settings are and where from.\n\n"
            "  message-hub serve\n"
            "  message-hub serve --data /var/lib/message-hub --listen 0.0.0.0:8080\n",
    .settings = true,
    .run = run_serve,
};
