"""hub.py - start, call and stop a real message-hub, for every test that looks from outside.

The program is HUB_BINARY (default build-test/message-hub). With HUB_TEST_DB, a postgresql:// URL, the hub runs on a
fresh PostgreSQL database made through HUB_TEST_PG_SUPER; else on SQLite in its own data folder."""
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("HUB_BINARY", os.path.join(ROOT, "build-test", "message-hub"))


class Answer:
    """Status, headers and body of one call; `json` is the parsed body or None."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body
        try:
            self.json = json.loads(body) if body else None
        except ValueError:
            self.json = None

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


def psql(url, sql):
    """Run SQL through psql and return its output; raises when it fails."""
    done = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql],
                          capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.strip()


def fresh_database():
    """A new empty database on the test's PostgreSQL, owned by role hub; returns (its URL, its name)."""
    name = "t" + secrets.token_hex(6)
    psql(os.environ["HUB_TEST_PG_SUPER"], f"CREATE DATABASE {name} OWNER hub")
    return re.sub(r"^(postgres(?:ql)?://[^/]*)/[^?]*", rf"\1/{name}", os.environ["HUB_TEST_DB"]), name


class Hub:
    """One hub process. Use as a context manager: it is stopped and its data removed at the end."""

    def __init__(self, *arguments, data=None, env=None, binary=None, database=None, keep=False):
        self.arguments, self.env, self.binary, self.keep = list(arguments), env or {}, binary or BINARY, keep
        self.data = data or tempfile.mkdtemp(prefix="message-hub-")
        self.own_data = data is None
        self.database, self.database_name = database, None
        if database is None and os.environ.get("HUB_TEST_DB"):
            self.database, self.database_name = fresh_database()
        self.process, self.port, self.link, self.key = None, None, None, None
        self.log_path = os.path.join(self.data, "test.log")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop(signal.SIGKILL if self.process and self.process.poll() is None and not self.keep else signal.SIGTERM)
        self.remove()

    def remove(self):
        if self.database_name:
            psql(os.environ["HUB_TEST_PG_SUPER"], f"DROP DATABASE IF EXISTS {self.database_name} WITH (FORCE)")
        if self.own_data and not self.keep:
            shutil.rmtree(self.data, ignore_errors=True)

    def start(self, wait_s=20):
        """Start and wait for the line that says it is ready; the first start also gives the admin key (`key`)."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("MESSAGE_HUB_")}
        env.pop("DATABASE_URL", None)
        env.update(self.env)
        command = [self.binary, "serve", "--data", self.data, "--listen", f"127.0.0.1:{self.port or 0}"]
        if self.database:
            command += ["--database-url", self.database]
        self.process = subprocess.Popen(command + self.arguments, stdout=subprocess.PIPE, text=True, cwd=self.data,
                                        stderr=open(self.log_path, "a", encoding="utf-8"), env=env)
        line = self.process.stdout.readline()
        found = re.search(r"ready at \S+?:(\d+)(?:/?\s|$)", line)
        if not found:
            self.process.wait(wait_s)
            raise RuntimeError(f"the hub did not start: {line!r}\n{self.log()[-3000:]}")
        self.port = int(found.group(1))
        link = re.search(r"(mh_\S+)", line)
        if link:
            self.link = link.group(1)
            self.key = self.call("POST", "/api/v1/keys/claim", {"token": self.link}, key=None).json["token"]
        return self

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def stop(self, with_signal=signal.SIGTERM, wait_s=30):
        """Stop by signal; returns the exit code. Afterwards start() starts it again on the same data and port."""
        if not self.process:
            return None
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        code = self.process.wait(wait_s)
        self.process.stdout.close()
        self.process = None
        return code

    def kill(self):
        return self.stop(signal.SIGKILL)

    def connect(self, timeout_s=30):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)

    def call(self, method, path, body=None, key="", headers=None, connection=None):
        """One call; `body` an object (sent as JSON), bytes, or None. key "" is the admin's, None none."""
        own = connection is None
        connection = connection or self.connect()
        sent = {"Authorization": f"Bearer {self.key if key == '' else key}"} if key is not None else {}
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        if data is not None:
            sent["Content-Type"] = "application/json"
        sent.update(headers or {})
        try:
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            kept = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, kept, answer.read())
        finally:
            if own:
                connection.close()

    def get(self, path, **query):
        """GET with query parameters; raises unless it answers 200; returns the JSON."""
        given = urllib.parse.urlencode({name: value for name, value in query.items() if value is not None})
        answer = self.call("GET", path + ("?" + given if given else ""))
        assert answer.status == 200, answer
        return answer.json

    def post(self, path, body=None, **more):
        """POST that must succeed; returns the JSON."""
        answer = self.call("POST", path, {} if body is None else body, **more)
        assert 200 <= answer.status < 300, answer
        return answer.json

    def pages(self, path, **query):
        """All items of a list, page by page."""
        cursor = None
        while True:
            page = self.get(path, cursor=cursor, limit=500, **query)
            yield from page["items"]
            cursor = page["next"]
            if not cursor:
                return

    def cli(self, *words, stdin=None, env=None):
        """Run the command line against this hub's socket; returns the finished process (text)."""
        environment = {"PATH": os.environ["PATH"], "HOME": self.data, "MESSAGE_HUB_DATA": self.data, **(env or {})}
        return subprocess.run([self.binary, *words], capture_output=True, text=True, timeout=60, input=stdin,
                              env=environment, cwd=self.data, check=False)

    def superuser(self):
        """The URL of the hub's own database for PostgreSQL's superuser."""
        return re.sub(r"^(postgres(?:ql)?://[^/]*)/[^?]*", rf"\1/{self.database_name}", os.environ["HUB_TEST_PG_SUPER"])

    def sql(self, statement):
        """What the database really holds: rows as lists of text, by sqlite3 or psql beside the running hub."""
        if self.database:
            out = psql(self.superuser(), statement)
            return [line.split("|") for line in out.split("\n")] if out else []
        import sqlite3
        database = sqlite3.connect(f"file:{self.data}/hub.db?mode=ro", uri=True, timeout=10)
        try:
            return [["" if value is None else str(value) for value in row] for row in database.execute(statement)]
        finally:
            database.close()


def until(condition, wait_s=10, every_s=0.02):
    """Wait until condition() is true-ish and return it; raises after wait_s."""
    end = time.monotonic() + wait_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {wait_s} s: {condition}")
        time.sleep(every_s)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cases:
    """Named checks that print `ok NAME` or `not ok NAME`; exit() ends the program."""

    def __init__(self, prefix=""):
        self.prefix, self.failed = prefix + " " if prefix else "", 0

    def run(self, name, function, *arguments):
        import traceback
        try:
            function(*arguments)
        except Exception:
            traceback.print_exc()
            self.failed += 1
            print(f"not ok {self.prefix}{name}", flush=True)
        else:
            print(f"ok {self.prefix}{name}", flush=True)

    def exit(self):
        raise SystemExit(1 if self.failed else 0)
