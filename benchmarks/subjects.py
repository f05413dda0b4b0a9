"""Building, starting and stopping what is measured. Every process is stopped by its owner, also when something fails."""
import contextlib
import glob
import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile

import hub as hubs

BUILD_S, START_S, STOP_S, TOOL_S = 900, 60, 30, 60
OLDEST_NODE = 22            # of better-sqlite3
PROGRAMS = {"load": [], "reply": [], "ceiling-sqlite": ["sqlite"], "ceiling-postgres": ["postgres"]}


class CannotMeasure(Exception):
    """Why something cannot be measured, in a sentence."""


def last_lines(text, count=3):
    return " / ".join(line.strip() for line in text.strip().split("\n")[-count:])[:300]


def stop(process):
    """End a process that we started."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Bench:
    """What all measurements share: the programs, a folder for data, the PostgreSQL server."""

    def __init__(self, root, hub, quick):
        self.root, self.here = root, os.path.join(root, "benchmarks")
        self.binary = os.path.abspath(hub) if hub else os.path.join(root, "build", "message-hub")
        self.build_hub = not hub
        self.warm_ms, self.measure_ms = (300, 700) if quick else (1000, 3000)
        self.postgres = self.peer = None

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="message-hub-bench-")
        try:
            self.build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            if isinstance(self.postgres, Postgres):
                self.postgres.close()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    # --- Building ---

    def tool(self, *command, timeout_s=TOOL_S, **options):
        """Run a program; its standard output. One that fails cannot be measured with."""
        command = [str(word) for word in command]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
                              **options) as process:
            try:
                out, err = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                raise CannotMeasure(f"{os.path.basename(command[0])} took more than {timeout_s} s") from None
            finally:
                if process.poll() is None:
                    stop(process)
        if process.returncode:
            raise CannotMeasure(f"{os.path.basename(command[0])}: {last_lines(err or out)}")
        return out

    def run_json(self, program, *arguments):
        return json.loads(self.tool(os.path.join(self.folder, program), *arguments))

    def build(self):
        if self.build_hub:
            self.tool(os.path.join(self.root, "tools", "setup"), "build", "release", timeout_s=BUILD_S)
        sqlite = "deps/node_modules/better-sqlite3/deps/sqlite3"
        libraries = {"sqlite": ["-I" + sqlite, os.path.join(os.path.dirname(self.binary), "libsqlite3.a"), "-lm", "-lpthread"],
                     "postgres": self.tool("pkg-config", "--cflags", "--libs", "libpq").split()}
        for program, needs in PROGRAMS.items():
            sources = [program.replace("-", "_") + ".c", "measure.c"] + (["ceiling.c"] if needs else [])
            self.tool("cc", "-O2", "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Isrc", "-o",
                      os.path.join(self.folder, program), *[os.path.join(self.here, source) for source in sources],
                      *[word for name in needs for word in libraries[name]], cwd=self.root)

    # --- The hub ---

    @contextlib.contextmanager
    def hub(self, postgres=False):
        """A running hub with a new database and an admin key."""
        with self.database_server(postgres):
            hub = hubs.Hub("--log-level", "warn", binary=self.binary, env={"HOME": self.folder},
                           data=tempfile.mkdtemp(dir=self.folder))
        try:
            try:
                hub.start()
                hub.claim()
            except RuntimeError as error:
                raise CannotMeasure(f"the hub does not start: {last_lines(str(error))}") from None
            yield hub
            if hub.process.poll() is not None:
                raise CannotMeasure(f"the hub ended by itself: {last_lines(hub.log_text())}")
        except CannotMeasure as error:
            raise CannotMeasure(f"{error}; the hub said: {last_lines(hub.log_text())}") from None
        finally:
            with contextlib.suppress(RuntimeError):     # it was killed: what was measured stands
                hub.close()
            shutil.rmtree(hub.data, ignore_errors=True)

    def make(self, hub, what, body):
        answer = hub.post("/api/v1/" + what, body)
        if answer.status != 201:
            raise CannotMeasure(f"POST /api/v1/{what} answers {answer}")

    @contextlib.contextmanager
    def new_database(self, postgres):
        """Where an empty database with the hub's schema is: a file or a URL."""
        folder = tempfile.mkdtemp(dir=self.folder)
        with self.database_server(postgres):
            database = hubs.Database()
        url = database.url or f"sqlite:{folder}/hub.db"
        try:
            self.tool(self.binary, "migrate", "--data", folder, "--database-url", url)
            yield database.url or f"{folder}/hub.db"
        finally:
            database.drop()
            shutil.rmtree(folder, ignore_errors=True)

    # --- PostgreSQL ---

    @contextlib.contextmanager
    def database_server(self, postgres):
        """Name the server to test/lib/hub.py for as long as it chooses a database."""
        names = ["HUB_TEST_DB", "HUB_TEST_PG_SUPER"]
        before = {name: os.environ.pop(name, None) for name in names}
        if postgres:
            if self.postgres is None:
                self.postgres = Postgres(self.root)
            os.environ.update(zip(names, self.postgres.urls))
        try:
            yield
        finally:
            for name in names:
                os.environ.pop(name, None)
                if before[name] is not None:
                    os.environ[name] = before[name]

    # --- Fastify ---

    def find_peer(self):
        """The Node and the script of the peer, its packages fetched."""
        folder = os.path.join(self.here, "peers")
        try:
            self.tool(os.path.join(self.root, "tools", "setup"), "npm", "benchmarks/peers", timeout_s=BUILD_S)
        except CannotMeasure as error:
            raise CannotMeasure(f"the packages of benchmarks/peers are missing ({error})") from None
        for node in glob.glob(os.path.join(folder, "node_modules", "node-linux-*", "bin", "node")) + [shutil.which("node")]:
            if node and int(self.tool(node, "-p", "parseInt(process.versions.node)")) >= OLDEST_NODE:
                return [node, os.path.join(folder, "fastify.mjs")]
        raise CannotMeasure(f"there is no Node {OLDEST_NODE} or newer for Fastify")

    @contextlib.contextmanager
    def fastify(self):
        """A running peer: its port, and a function that posts one message."""
        if self.peer is None:
            self.peer = self.find_peer()
        folder = tempfile.mkdtemp(dir=self.folder)
        with open(os.path.join(folder, "log"), "w+", encoding="utf-8") as log:
            process = subprocess.Popen([*self.peer, os.path.join(folder, "peer.db")], stdout=subprocess.PIPE, stderr=log)
            try:
                line = process.stdout.readline()
                if not line.strip():
                    process.wait(START_S)
                    log.seek(0)
                    raise CannotMeasure(f"Fastify does not start: {last_lines(log.read())}")
                port = int(line)
                yield port, lambda message: post(port, message)
            finally:
                stop(process)
                process.stdout.close()
                shutil.rmtree(folder, ignore_errors=True)

    @staticmethod
    def free_port():
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            return one.getsockname()[1]


def post(port, message):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TOOL_S)
    connection.request("POST", "/api/v1/messages", json.dumps(message), {"Content-Type": "application/json"})
    status = connection.getresponse().status
    connection.close()
    if status != 201:
        raise CannotMeasure(f"Fastify answers {status}")


class Postgres:
    """A private PostgreSQL server, synced to disk: tools/with-postgres around a process that waits for us."""

    def __init__(self, root):
        self.urls = []
        env = {name: value for name, value in os.environ.items() if name != "HUB_TEST_PG_FSYNC"}
        self.process = subprocess.Popen(
            [os.path.join(root, "tools", "with-postgres"), "sh", "-c",
             'echo "$HUB_TEST_DB"; echo "$HUB_TEST_PG_SUPER"; exec cat'],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        self.urls = [self.process.stdout.readline().strip() for _ in range(2)]
        if not all(self.urls):
            reason = last_lines(self.process.stderr.read())
            self.close()
            raise CannotMeasure(f"PostgreSQL does not start: {reason}")

    def close(self):
        """The end of its input ends the process inside, which ends the server."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            stop(self.process)
        self.process.stdout.close()
        self.process.stderr.close()
