"""What is measured, and how it becomes the rows of the table."""
import collections
import time

Row = collections.namedtuple("Row", "name what unit value ceiling goal more_is_better needs")


def row(name, what, unit, value, ceiling, goal, more_is_better=True):
    needs = [value[0]] + ([ceiling[0]] if isinstance(ceiling, tuple) else [])
    return Row(name, what, unit, value, ceiling, goal, more_is_better, needs)


ROWS = [
    row("post-sqlite", "POST of one message, 64 clients, synced; against raw SQLite, 64 to a commit", "/s",
         ("hub", "per_s"), ("raw SQLite", "per_s"), 0.55),
    row("post-fastify", "the same against Fastify + better-sqlite3", "/s",
         ("hub", "per_s"), ("Fastify", "per_s"), 6),
    row("post-p99", "its p99 against Fastify's: a twentieth", "ms",
         ("hub", "p99_ms"), ("Fastify", "p99_ms"), 20, False),
    row("post-postgres", "the same on PostgreSQL; against raw PostgreSQL, 64 to a commit", "/s",
         ("hub on PostgreSQL", "per_s"), ("raw PostgreSQL", "per_s"), 0.6),
    row("reply", "text -> rule -> answer at the provider, p50; against one synced POST: within 4x", "ms",
         ("reply", "p50_ms"), ("one client", "p50_ms"), 0.25, False),
    row("start", "start to the first synced 201, new database; against Fastify's: a fifth", "ms",
         ("start", "ms"), ("Fastify's start", "ms"), 5, False),
    row("idle", "resident memory, 5 s after the first message; against 20 MB", "MB",
         ("idle", "mb"), 20, 1, False),
]

CLIENTS = 64
REPLIES = 300
IDLE_S = 5
MESSAGE = {"id": "first", "from": "+12025550100", "text": "hello", "type": "sms"}


def _load(bench, hub, clients, measure_ms):
    return bench.run_json("load", hub.port, clients, bench.warm_ms, measure_ms, "bench",
                          f"Authorization: Bearer {hub.key}")


def _hub_load(bench, postgres):
    with bench.hub(postgres) as hub:
        hub.post("channels", {"kind": "android", "name": "bench"})
        return _load(bench, hub, CLIENTS, bench.measure_ms)


def _fastify_load(bench):
    with bench.fastify() as peer:
        return bench.run_json("load", peer.port, CLIENTS, bench.warm_ms, bench.measure_ms, "bench")


def _raw(bench, program, postgres):
    with bench.new_database(postgres) as where:
        return bench.run_json(program, where, bench.measure_ms)


def _reply(bench):
    port = bench.free_port()
    with bench.hub() as hub:
        hub.post("egress", {"network": "127.0.0.1", "port": port})
        hub.post("channels", {
            "kind": "android", "name": "phone", "debounce_ms": 0, "per_second": 0, "per_hour": 0, "per_day": 0,
            "per_contact_hour": 0, "settings": {"base_url": f"http://127.0.0.1:{port}", "username": "sms",
                                                "password": "benchmark"}})
        hub.post("rules", {"name": "price", "matches": {"channel": "phone", "any": ["price"]},
                                  "actions": {"answer": "It is 42.", "stop": True}})
        return bench.run_json("reply", port, hub.port, "phone", REPLIES, f"Authorization: Bearer {hub.key}")


def _one_client(bench):
    with bench.hub() as hub:
        # nothing is decided while it runs: what is compared is the storing alone
        hub.post("channels", {"kind": "android", "name": "bench", "debounce_ms": 10000})
        return _load(bench, hub, 1, 1000)


def _start(bench):
    start = time.monotonic()
    with bench.hub() as hub:
        hub.post("messages", MESSAGE)
        return {"ms": (time.monotonic() - start) * 1000}


def _fastify_start(bench):
    start = time.monotonic()
    with bench.fastify() as peer:
        peer.post("messages", MESSAGE)
        return {"ms": (time.monotonic() - start) * 1000}


def _idle(bench):
    with bench.hub() as hub:
        hub.post("messages", MESSAGE)
        time.sleep(IDLE_S)
        return {"mb": hub.resident_kib() * 1024 / 1e6}


# In the order of one round: what is compared stands next to each other.
figures = {
    "raw SQLite": lambda bench: _raw(bench, "ceiling-sqlite", False),
    "hub": lambda bench: _hub_load(bench, False),
    "Fastify": _fastify_load,
    "raw PostgreSQL": lambda bench: _raw(bench, "ceiling-postgres", True),
    "hub on PostgreSQL": lambda bench: _hub_load(bench, True),
    "reply": _reply,
    "one client": _one_client,
    "start": _start,
    "Fastify's start": _fastify_start,
    "idle": _idle,
}
