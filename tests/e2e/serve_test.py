"""The server from outside: its first start, what it refuses to start on, how it stops, what it keeps to itself.

On SQLite, or on PostgreSQL with HUB_TEST_DB (lib/hub.py). TEST_LONG restarts it 200 times under load instead of 20."""
import json
import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "harness"))
import kill  # noqa: E402
from hub import BINARY, Cases, Hub, psql, until  # noqa: E402

RESTARTS = 200 if os.environ.get("TEST_LONG") else 20
STOP_S = 20
cases = Cases("serve")


def serve(hub, *words, env=None, wait_s=30):
    """Start on the hub's data when it must not start; returns (exit code, stdout, stderr)."""
    command = [BINARY, "serve", "--data", hub.data, "--listen", "127.0.0.1:0"]
    if hub.database:
        command += ["--database-url", hub.database]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MESSAGE_HUB_")}
    done = subprocess.run(command + list(words), capture_output=True, text=True, timeout=wait_s, cwd=hub.data,
                          env={**clean, **(env or {})}, check=False)
    return done.returncode, done.stdout, done.stderr


def refused(hub, says, hints, *words, env=None):
    code, out, said = serve(hub, *words, env=env)
    assert code not in (0, None) and out == "", (code, out, said)
    lines = [line for line in said.split("\n") if line.startswith(("message-hub: ", "hint: "))]
    assert len(lines) == 2 and says in lines[0] and hints in lines[1], said


def change(hub, statement):
    """Change a stopped hub's database."""
    if hub.database:
        psql(re.sub(r"^(postgres(?:ql)?://[^/]*)/[^?]*", rf"\1/{hub.database_name}", os.environ["HUB_TEST_PG_SUPER"]),
             statement)
        return
    database = sqlite3.connect(os.path.join(hub.data, "hub.db"))
    with database:
        database.execute(statement)
    database.close()


# --- starting -----------------------------------------------------------------------------------------------------

def started(hub, data):
    """Start a hub on a folder and end it again; returns all that it printed."""
    command = [BINARY, "serve", "--data", data, "--listen", "127.0.0.1:0"]
    if hub.database:
        command += ["--database-url", hub.database]
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=os.path.dirname(hub.data))
        until(lambda: os.fstat(out.fileno()).st_size or process.poll() is not None)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(STOP_S) == 0
        out.seek(0)
        return re.sub(r"(?m)^\d{4}-.* (info|warn) .*\n", "", out.read())      # the log


def first_start():
    """One line with the address and a one-time key; the next start prints no secret. All that it makes is private,
    whatever the umask is."""
    with Hub() as hub:
        hub.stop()
        data, old = os.path.join(hub.data, "fresh"), os.umask(0)
        if hub.database:
            change(hub, "DROP OWNED BY hub")
        try:
            first = started(hub, data)
            assert re.fullmatch(r"Message Hub is ready at http://127\.0\.0\.1:\d+  one-time admin key: mh_[\w-]{40,}\n",
                                first), first
            again = started(hub, data)
            assert re.fullmatch(r"Message Hub is ready at http://127\.0\.0\.1:\d+\n", again), again
        finally:
            os.umask(old)
        assert stat.S_IMODE(os.stat(data).st_mode) == 0o700
        names = os.listdir(data)
        assert {"lock", "master.key"} <= set(names) and (hub.database or "hub.db" in names), names
        for name in names:
            mode = stat.S_IMODE(os.stat(os.path.join(data, name)).st_mode)
            assert mode & 0o177 == 0, (name, oct(mode))


def second_hub_is_refused():
    with Hub() as hub:
        refused(hub, "A hub is running with the data folder", "Stop it first")
        done = hub.cli("migrate")
        assert done.returncode == 1 and "hint: Stop it first" in done.stderr, done
        hub.get("/api/v1/messages")
        if not hub.database:        # nor the same file from another folder
            with Hub(database=f"sqlite:{hub.data}/elsewhere.db") as first, Hub() as second:
                second.stop()
                refused(second, "A hub is running with the database", "Stop it first", "--database-url", first.database)
        hub.kill()
        hub.start()         # a killed hub leaves no lock behind
        hub.get("/api/v1/messages")


def wrong_master_key_is_refused():
    with Hub() as hub:
        hub.stop()
        path = os.path.join(hub.data, "master.key")
        refused(hub, "another master key", "master.key", env={"MESSAGE_HUB_MASTER_KEY": "ab" * 32})
        refused(hub, "not 64 hex digits", "Restore it", env={"MESSAGE_HUB_MASTER_KEY": "zz" * 32})
        os.rename(path, path + ".away")
        refused(hub, "none at", "master.key")
        os.rename(path + ".away", path)
        os.chmod(path, 0o644)
        refused(hub, "can be read by others", "chmod")
        os.chmod(path, 0o600)
        hub.start()
        hub.get("/api/v1/messages")


def newer_schema_is_refused():
    with Hub() as hub:
        hub.stop()
        change(hub, "INSERT INTO schema_migrations (name, number, checksum, applied_ms) "
                    "VALUES ('9000_from_the_future', 9000, 'x', 1)")
        refused(hub, "newer", "newer program")
        words = ["--database-url", hub.database] if hub.database else []
        done = hub.cli("migrate", *words)
        assert done.returncode == 1 and "newer" in done.stderr and "hint: " in done.stderr, done
        change(hub, "DELETE FROM schema_migrations WHERE number = 9000")
        hub.start()


def port_in_use():
    with Hub() as hub, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        hub.stop()
        refused(hub, "127.0.0.1", "port", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
        refused(hub, "nonsense", ":", "--listen", "nonsense")
        refused(hub, "203.0.113.9", "address", "--listen", "203.0.113.9:0")


def wrong_settings():
    with Hub() as hub:
        hub.stop()
        path = os.path.join(hub.data, "message-hub.conf")
        for text, says, hints in (("lisen = 127.0.0.1:1\n", 'conf:1: unknown setting "lisen"', '"listen"'),
                                  ("# fine\nworkers = many\n", "workers", "Threads"),
                                  ("no equals sign\n", "not a line of the form", "listen = ")):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            refused(hub, says, hints)
            done = hub.cli("config", "check")
            assert done.returncode == 2 and says in done.stderr and "hint: " in done.stderr, done
        os.unlink(path)
        refused(hub, "--lisen", '"--listen"', "--lisen", "127.0.0.1:1")


def dev_no_auth():
    with Hub("--dev-no-auth") as hub:
        assert hub.call("GET", "/api/v1/messages", key=None).status == 200
        assert hub.call("POST", "/api/v1/tenants", {"name": "dev"}, key=None).status == 201
        foreign = hub.call("GET", "/api/v1/messages", key=None, headers={"Origin": "https://evil.example"})
        assert foreign.status == 401, foreign
        rebound = hub.call("GET", "/api/v1/messages", key=None, headers={"Host": "evil.example"})
        assert rebound.status == 401, rebound
        hub.stop()
        for address in ("0.0.0.0:0", "[::]:0", "192.0.2.1:80"):
            refused(hub, "loopback only", "127.0.0.1", "--dev-no-auth", "--listen", address)
        hub.arguments = []
        hub.start()
        assert hub.call("GET", "/api/v1/messages", key=None).status == 401


# --- stopping -----------------------------------------------------------------------------------------------------

def timed_stop(hub):
    start = time.monotonic()
    assert hub.stop(signal.SIGTERM, wait_s=STOP_S + 10) == 0
    return time.monotonic() - start


def stops_with_open_connections():
    """Idle clients, half a request, a stream, a slow send: none of them holds the stop."""
    with Hub() as hub:
        idle = [hub.connect() for _ in range(20)]
        for connection in idle:
            connection.connect()
        half = socket.create_connection(("127.0.0.1", hub.port))
        half.sendall(b"POST /api/v1/messages HTTP/1.1\r\nHost: hub\r\nContent-Length: 100\r\n\r\n{")
        tail = subprocess.Popen([BINARY, "events", "tail", "--data", hub.data], stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, cwd=hub.data)
        hub.post("/api/v1/messages/send", {"channel": "sandbox", "to": "+15550100", "text": "#slow one"})
        time.sleep(0.5)
        took = timed_stop(hub)
        tail.kill()
        tail.wait()
        tail.stdout.close()
        half.close()
        for connection in idle:
            connection.close()
        assert took < STOP_S, took
        hub.start()
        message = hub.get("/api/v1/messages", direction="out")["items"][0]
        assert message["state"] in ("queued", "sending", "sent", "delivered", "unknown"), message


def stops_beside_a_hung_database():
    """PostgreSQL's processes no longer answer, and calls wait for them: the hub ends within the time."""
    with Hub() as hub:
        backends = [int(pid) for pid in psql(hub.superuser(), "SELECT pid FROM pg_stat_activity WHERE usename = 'hub'"
                                             f" AND datname = '{hub.database_name}'").split()]
        assert len(backends) >= 3, backends
        calls = [hub.connect() for _ in range(3)]
        try:
            for backend in backends:
                os.kill(backend, signal.SIGSTOP)
            for connection in calls:
                connection.request("GET", "/api/v1/messages", headers={"Authorization": f"Bearer {hub.key}"})
            time.sleep(0.5)
            took = timed_stop(hub)
        finally:
            for backend in backends:
                os.kill(backend, signal.SIGCONT)
            for connection in calls:
                connection.close()
        assert took < STOP_S, took
        hub.start()
        hub.get("/api/v1/messages")


def restarts_under_load():
    """SIGTERM again and again while clients post: within the time, nothing acknowledged lost, nothing doubled, and no
    send left in doubt."""
    ledger = kill.Ledger()
    slowest = 0.0
    with Hub() as hub:
        kill.set_up(hub, ledger)
        receiving = [kill.Client(hub, kill.inbound(contact)) for contact in range(kill.CONTACTS)]
        sending = [kill.Client(hub, kill.outbound(contact), 0.05) for contact in range(kill.CONTACTS)]
        for client in receiving + sending:
            client.start()
        for _ in range(RESTARTS):
            time.sleep(0.25)
            slowest = max(slowest, timed_stop(hub))
            hub.start()
        time.sleep(0.5)
        for client in receiving + sending:
            client.stopping = True
        for client in receiving + sending:
            client.join(30)
            assert client.refused is None, client.refused
        until(lambda: hub.sql("SELECT COUNT(*) FROM jobs WHERE kind = 1")[0][0] == "0", 150, 0.2)
        received = [text for client in receiving for text in client.acknowledged]
        sent = [text for client in sending for text in client.acknowledged]
        texts = "SELECT text FROM messages WHERE direction = %d ORDER BY conversation_id, position"
        stored = [row[0] for row in hub.sql(texts % 0)]
        queued = [row[0] for row in hub.sql(texts % 1)]
        doubt = hub.sql("SELECT text FROM messages WHERE direction = 1 AND state = 10")
        reached = [entry[2] for entry in ledger.accepted]
        ledger.shutdown()
    faults = kill.check_all_there("received", received, stored) + kill.check_order("received", stored)
    faults += kill.check_all_there("to send", sent, queued) + kill.check_order("to send", queued)
    faults += kill.check_all_there("at the provider", sent, reached) + kill.check_order("at the provider", reached)
    print(f"{RESTARTS} restarts: {len(received)} received, {len(sent)} sent, {len(reached)} at the provider, "
          f"{len(doubt)} in doubt, slowest stop {slowest:.2f} s, {len(faults)} faults", *faults[:10], sep="\n")
    assert slowest < STOP_S and not faults and not doubt
    assert len(received) > 5 * RESTARTS and len(sent) > 5 * RESTARTS, "there was no load"


# --- what stays inside --------------------------------------------------------------------------------------------

def canary(name):
    return f"CANARY{name}"


def quiet(function, *arguments, **more):
    """Calls that are refused are part of it."""
    answer = function(*arguments, **more)
    assert answer.status < 500, answer
    return answer


def plant(hub):
    """Texts, names, secrets and keys go through every kind of call, accepted and refused."""
    phone = "+15550177345"
    hub.post("/api/v1/egress", {"network": "127.0.0.1/32", "port": 0})
    settings = {"base_url": "http://127.0.0.1:9", "username": "sms", "password": canary("password"),
                "signing_key": canary("signing")}
    hub.post("/api/v1/channels", {"kind": "android", "name": "phone", "settings": settings})
    hub.post("/api/v1/rules", {"name": "answer", "matches": {"contains": "price"},
                               "actions": {"answer": canary("answer"), "tags": ["sales"]}})
    for channel, text in (("sandbox", "price #fail"), ("sandbox", "#retry"), ("sandbox", "#unknown"), ("phone", "x")):
        hub.post("/api/v1/messages/send", {"channel": channel, "to": phone, "text": f"{text} {canary('sent')}",
                                           "metadata": {"note": canary("metadata")}})
    received = {"channel": "sandbox", "from": phone, "text": "price? " + canary("received"), "id": canary("external"),
                "metadata": {"note": canary("metadata")}}
    hub.post("/api/v1/messages", received)
    hub.post("/api/v1/conversations", {"to": phone, "channel": "sandbox", "name": canary("title")})
    quiet(hub.call, "POST", "/api/v1/messages", {**received, "sender": canary("unknownfield")})
    quiet(hub.call, "POST", "/api/v1/messages/send", {"to": canary("address"), "text": canary("refused")})
    quiet(hub.call, "POST", "/api/v1/messages/send", ('{"text":"' + canary("malformed")).encode())
    quiet(hub.call, "POST", "/api/v1/messages/send", {"to": phone, "text": canary("twice"), "channel": "sandbox"},
          headers={"Idempotency-Key": canary("idempotency")})
    quiet(hub.call, "GET", "/api/v1/messages?q=" + canary("query"))
    quiet(hub.call, "GET", "/api/v1/messages", key="mh_" + canary("key"))
    quiet(hub.call, "GET", "/api/v1/messages/" + canary("path"))
    quiet(hub.call, "POST", "/hooks/phone", {"event": "sms:received", "payload": {"message": canary("hook")}}, key=None)
    made = hub.post("/api/v1/keys", {"name": canary("keyname"), "scopes": ["read"]})
    device = hub.post("/api/v1/devices", {"name": canary("device"), "platform": "android"})
    quiet(hub.call, "GET", "/api/v1/messages", key=made["token"])
    hub.cli("messages")
    return [phone, phone[1:], hub.key, hub.link, made["token"], device["token"], "CANARY"]


def log_tells_nothing(form):
    with Hub("--log-level", "debug", "--log-format", form) as hub:
        secrets = plant(hub)
        until(lambda: hub.sql("SELECT COUNT(*) FROM messages WHERE direction = 1 AND state = 11")[0][0] != "0", 30)
        time.sleep(3)           # decisions and retries write their lines too
        hub.stop()
        log = hub.log()
        assert "key refused" in log and "started" in log and "stopping" in log, log
        for secret in secrets:
            assert secret.lower() not in log.lower(), (secret, log)
        for line in log.rstrip("\n").split("\n"):
            if form == "json":
                parsed = json.loads(line)
                assert {"at", "level"} <= set(parsed) or {"time", "level"} <= set(parsed), line
            else:
                assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (debug|info|warn|error) ", line), line
            assert not re.search("[\x00-\x1f\x7f-\x9f]", line), repr(line)


def database_holds_no_secret_in_clear():
    """What is sealed or hashed is nowhere in the files."""
    with Hub() as hub:
        secrets = plant(hub)
        hub.stop()
        wanted = [canary("password"), canary("signing")]
        wanted += [word for word in secrets if word.startswith("mh_")]
        for name in os.listdir(hub.data):
            path = os.path.join(hub.data, name)
            if name == "test.log" or not stat.S_ISREG(os.stat(path).st_mode):
                continue
            with open(path, "rb") as file:
                content = file.read()
            for secret in wanted:
                assert secret.encode() not in content, (name, secret)


def main():
    # a restart holds nothing that another test needs: the threads of one are not forked into another
    assert threading.active_count() == 1
    for test in (first_start, second_hub_is_refused, wrong_master_key_is_refused,
                 newer_schema_is_refused, port_in_use, wrong_settings, dev_no_auth, stops_with_open_connections):
        cases.run(test.__name__, test)
    if os.environ.get("HUB_TEST_DB"):
        cases.run("stops_beside_a_hung_database", stops_beside_a_hung_database)
    cases.run("log_tells_nothing as text", log_tells_nothing, "text")
    cases.run("log_tells_nothing as json", log_tells_nothing, "json")
    cases.run("database_holds_no_secret_in_clear", database_holds_no_secret_in_clear)
    cases.run(f"{RESTARTS} restarts under load", restarts_under_load)
    cases.exit()


main()
