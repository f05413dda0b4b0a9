"""What `./bench channels` measures: webhooks, idle mailboxes, slow and dead providers."""
import contextlib
import http.client
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time

import subjects
import webhooks
from rows import CLIENTS, row

LONGEST_S = 165        # no further round is begun after so long
WARM_MS, MEASURE_MS = 500, 1500
REQUESTS = 40000            # more than a machine takes in that time
MAILBOXES, SETTLE_S = 200, 5
SLOW_MS, IN_FLIGHT, SLOW_CHANNELS = 2000, 1000, 8
LIVE_BATCHES, LIVE_SENDS, DEAD_SENDS = 8, 500, 200
WAIT_S = 60
FREE = {"per_second": 0, "per_hour": 0, "per_day": 0, "per_contact_hour": 0, "debounce_ms": 10000}

ROWS = [
    row("webhook-twilio", "a signed webhook against POST of one message, 64 clients, synced: 1.3x", "/s",
        ("twilio", "per_s"), ("messages", "per_s"), 0.77),
    row("webhook-whatsapp", "the same for WhatsApp's JSON", "/s",
        ("whatsapp", "per_s"), ("messages", "per_s"), 0.77),
    row("webhook-smsgate", "the same for SMS Gateway for Android", "/s",
        ("smsgate", "per_s"), ("messages", "per_s"), 0.77),
    row("idle-mailbox", f"resident memory of each of {MAILBOXES} channels in IDLE over TLS", "KiB",
        ("mailboxes", "kib_each"), 160, 1, False),
    row("in-flight", f"sends that wait for a provider of {SLOW_MS / 1000:.0f} s (--send-workers {IN_FLIGHT}), mean", "",
        ("slow provider", "in_flight"), IN_FLIGHT, 0.9),
    row("in-flight-p99", "p99 of POST of one message meanwhile; against before: 1.2x", "ms",
        ("slow provider", "p99_ms"), ("slow provider", "idle_p99_ms"), 0.83, False),
    row("beside-dead", "sends of a channel beside one whose provider never answers; against alone", "/s",
        ("beside a dead provider", "per_s"), ("beside a dead provider", "alone_per_s"), 0.95),
]


def _wait(condition, what):
    end = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > end:
            raise subjects.CannotMeasure(f"not within {WAIT_S} s: {what}")
        time.sleep(0.02)


def _stored(hub):
    """How many messages are in the hub's database."""
    database = sqlite3.connect(f"file:{hub.folder}/hub.db?mode=ro", uri=True, timeout=10)
    with contextlib.closing(database):
        return database.execute("SELECT count(*) FROM messages").fetchone()[0]


def _bearer(hub):
    return f"Authorization: Bearer {hub.key}"


# --- Webhooks ---

def _status(hub, request):
    with socket.create_connection(("127.0.0.1", hub.port), subjects.TOOL_S) as connection:
        connection.sendall(request)
        return int(connection.recv(64).split()[1])


def _arrivals(bench, kind):
    """The rate at which the hub takes what arrives, each of it stored; what is forged, refused."""
    path = os.path.join(bench.folder, "requests")
    port = bench.free_port()
    url = f"http://127.0.0.1:{port}"        # Twilio signs it, so the hub must know it
    with bench.hub(options=["--public-url", url], port=port) as hub:
        added = hub.post("channels", {"name": "bench", "debounce_ms": 10000, **webhooks.CHANNELS[kind]})
        is_api = kind == "messages"
        where, headers = (url + "/api/v1/messages", [_bearer(hub)]) if is_api else (url + added["hook_path"], [])
        webhooks.write_requests(path, webhooks.arrivals(kind, where, headers, REQUESTS))
        if not is_api:
            status = _status(hub, webhooks.forged(next(webhooks.arrivals(kind, where, headers, 1))))
            if status != 403:
                raise subjects.CannotMeasure(f"a forged request of {kind} is answered {status}")
        out = bench.run_json("load", hub.port, CLIENTS, WARM_MS, MEASURE_MS, "@" + path)
        os.unlink(path)
        if _stored(hub) < out["all"]:
            raise subjects.CannotMeasure(f"{kind}: {out['all']} were answered, but {_stored(hub)} are stored")
        return out


# --- Mailboxes ---

# one process each for all logins and all mailboxes
FEW_PROCESSES = """service imap-login {
  service_count = 0
  client_limit = 1000
  process_min_avail = 1
}
service imap {
  service_count = 0
  client_limit = 1000
}
"""


def _connected(port):
    count = 0
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(name, encoding="utf-8") as lines:
            words = [line.split() for line in lines][1:]
        count += sum(line[1].endswith(f":{port:04X}") and line[3] == "01" for line in words)
    return count


def _peers(bench):
    """The mail servers of the tests, with few processes."""
    if "peers" not in sys.modules:
        sys.path.insert(0, os.path.join(bench.root, "tests", "channels", "email"))
        import peers
        peers.DOVECOT += FEW_PROCESSES.replace("{", "{{").replace("}", "}}")    # the text is a format
    return sys.modules["peers"]


def _mailboxes(bench):
    peers = _peers(bench)
    with peers.Dovecot() as dovecot, bench.hub(env={"SSL_CERT_FILE": dovecot.certificate.cert}) as hub:
        for network in ("127.0.0.1/32", "::1/128"):
            hub.post("egress", {"network": network})
        before = hub.resident_kib()
        for number in range(MAILBOXES):
            hub.post("channels", {"kind": "email", "name": f"mail-{number}", "settings": {
                "address": f"box-{number}@hub.test", "password": peers.PASSWORD,
                "imap_url": f"imaps://localhost:{dovecot.port}"}})
        _wait(lambda: _connected(dovecot.port) >= MAILBOXES, f"{MAILBOXES} sessions")
        time.sleep(SETTLE_S)
        sessions = _connected(dovecot.port)
        if sessions != MAILBOXES:
            raise subjects.CannotMeasure(f"{sessions} sessions instead of {MAILBOXES} idle")
        after = hub.resident_kib()
        # they do listen
        for number in (0, MAILBOXES - 1):
            dovecot.put(f"From: anna@peer.test\nMessage-ID: <{number}@peer.test>\n\nhello\n",
                        user=f"box-{number}@hub.test")
        _wait(lambda: _stored(hub) == 2, "a mail of the first and of the last mailbox")
        return {"kib_each": (after - before) / MAILBOXES}


# --- Providers ---

class Provider:
    """A running provider.c; it ends before the hub does, so that nothing is waited for."""

    def __init__(self, bench, delay_ms):
        self.process = subjects.launch([os.path.join(bench.folder, "provider"), delay_ms], stdin=subprocess.PIPE)

    def __enter__(self):
        self.port = int(subjects.first_line(self.process) or 0)
        if not self.port:
            self.__exit__()
            raise subjects.CannotMeasure("the provider does not start")
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        subjects.stop(self.process)
        self.process.stdout.close()

    def stats(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=subjects.TOOL_S)
        with contextlib.closing(connection):
            connection.request("GET", "/stats")
            return json.load(connection.getresponse())

    def add_channel(self, hub, name):
        hub.post("channels", {"kind": "android", "name": name, **FREE, "settings": {
            "base_url": f"http://127.0.0.1:{self.port}", "username": "sms", "password": "benchmark"}})


def _send(bench, hub, channels, count, clients, area):
    """Hand the hub so many sends, to the channels in turn, each to a contact of its own."""
    path = os.path.join(bench.folder, "requests")
    webhooks.write_requests(path, (webhooks.request("/api/v1/messages/send", json.dumps({
        "channel": channels[number % len(channels)], "to": f"+1{area}556{number:04}",
        "text": f"message number {number}"}).encode(), ["Content-Type: application/json", _bearer(hub)])
        for number in range(count)))
    sent = bench.run_json("load", hub.port, clients, 0, WAIT_S * 1000, "@" + path)["all"]
    os.unlink(path)
    if sent != count:
        raise subjects.CannotMeasure(f"{sent} of {count} sends were taken")


def _accept(bench, hub, first):
    out = bench.run_json("load", hub.port, 1, 300, MEASURE_MS, first, _bearer(hub))
    return out["p99_ms"]


def _slow_provider(bench):
    with bench.hub(options=["--send-workers", str(IN_FLIGHT)]) as hub, Provider(bench, SLOW_MS) as provider:
        hub.post("egress", {"network": "127.0.0.1", "port": provider.port})
        for name in ("before", "meanwhile"):
            hub.post("channels", {"kind": "android", "name": name, **FREE})
        channels = [f"slow-{number}" for number in range(SLOW_CHANNELS)]
        for name in channels:
            provider.add_channel(hub, name)
        idle = _accept(bench, hub, "before")
        _send(bench, hub, channels, 3 * IN_FLIGHT, 16, 303)
        _wait(lambda: provider.stats()["waiting"] >= 0.9 * IN_FLIGHT, f"{IN_FLIGHT} sends in flight")
        provider.stats()
        busy = _accept(bench, hub, "meanwhile")
        return {"idle_p99_ms": idle, "p99_ms": busy, "in_flight": provider.stats()["waiting_mean"]}


def _live_batch(bench, hub, live, number):
    """Seconds from the first send that the hub is given to the last that the provider has."""
    wanted = live.stats()["answered"] + LIVE_SENDS
    start = time.monotonic()
    _send(bench, hub, ["live"], LIVE_SENDS, 8, 500 + number)
    _wait(lambda: live.stats()["answered"] >= wanted, f"{LIVE_SENDS} sends")
    return time.monotonic() - start


def _beside_dead(bench):
    """The rates of a channel's sends in two hubs, of which one also sends to a provider that never answers. They take
    turns in short batches, so that both have the same share of a machine that others use."""
    with contextlib.ExitStack() as stack:
        hubs = [stack.enter_context(bench.hub()) for _ in range(2)]
        live, dead = (stack.enter_context(Provider(bench, delay_ms)) for delay_ms in (0, -1))
        for hub in hubs:
            for provider, name in ((live, "live"), (dead, "dead")):
                hub.post("egress", {"network": "127.0.0.1", "port": provider.port})
                provider.add_channel(hub, name)
        _send(bench, hubs[1], ["dead"], DEAD_SENDS, 8, 404)
        _wait(lambda: dead.stats()["waiting"] > 0, "sends that hang")
        hanging = dead.stats()["waiting"]
        for hub in hubs:
            _live_batch(bench, hub, live, LIVE_BATCHES)         # warm
        took_s = [0, 0]
        for batch in range(LIVE_BATCHES):
            for which in ((0, 1), (1, 0))[batch % 2]:
                took_s[which] += _live_batch(bench, hubs[which], live, batch)
        if dead.stats()["waiting"] < hanging:
            raise subjects.CannotMeasure("the dead provider was given up meanwhile")
        alone_s, beside_s = took_s
        sends = LIVE_BATCHES * LIVE_SENDS
        return {"alone_per_s": sends / alone_s, "per_s": sends / beside_s}


figures = {
    "messages": lambda bench: _arrivals(bench, "messages"),
    "twilio": lambda bench: _arrivals(bench, "twilio"),
    "whatsapp": lambda bench: _arrivals(bench, "whatsapp"),
    "smsgate": lambda bench: _arrivals(bench, "smsgate"),
    "mailboxes": _mailboxes,
    "slow provider": _slow_provider,
    "beside a dead provider": _beside_dead,
}
