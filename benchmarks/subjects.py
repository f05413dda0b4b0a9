"""Building, starting and stopping what is measured. Whoever starts a process stops it, also when something fails."""
import contextlib
import glob
import http.client
import json
import os
import re
import select
import shutil
import socket
import subprocess
import tempfile

BUILD_S, START_S, STOP_S, TOOL_S = 900, 60, 30, 60
OLDEST_NODE = 22            # of better-sqlite3
PROGRAMS = {"load": [], "reply": [], "provider": [], "ceiling-sqlite": ["sqlite"], "ceiling-postgres": ["postgres"]}


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


def launch(command, **options):
    """Start a process whose standard output we read. What cannot be started cannot be measured."""
    try:
        return subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, **options)
    except OSError as error:
        raise CannotMeasure(f"{os.path.basename(str(command[0]))} cannot be run: {error.strerror}") from None


def first_line(process):
    """The first line a process prints; empty when there is none in time."""
    ready, _, _ = select.select([process.stdout], [], [], START_S)
    line = process.stdout.readline() if ready else ""
    return line if isinstance(line, str) else line.decode()


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
            if self.postgres:
                self.postgres.close()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    # --- Building ---

    def tool(self, *command, timeout_s=TOOL_S, **options):
        """Run a program; its standard output. One that fails cannot be measured with."""
        name = os.path.basename(str(command[0]))
        with launch(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, **options) as process:
            try:
                out, err = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                raise CannotMeasure(f"{name} took more than {timeout_s} s") from None
            finally:
                if process.poll() is None:
                    stop(process)
        if process.returncode:
            raise CannotMeasure(f"{name}: {last_lines(err or out)}")
        return out

    def setup(self, *words):
        self.tool(os.path.join(self.root, "tools", "setup"), *words, timeout_s=BUILD_S)

    def run_json(self, program, *arguments):
        return json.loads(self.tool(os.path.join(self.folder, program), *arguments))

    def build(self):
        if self.build_hub:
            self.setup("npm", "deps")
            self.setup("build", "release", "message-hub")
        if not os.access(self.binary, os.X_OK):
            raise CannotMeasure(f"there is no program {self.binary}")
        sqlite = "deps/node_modules/better-sqlite3/deps/sqlite3"
        archive = os.path.join(os.path.dirname(self.binary), "libsqlite3.a")
        libraries = {"sqlite": ["-I" + sqlite, archive, "-lm", "-lpthread"],
                     "postgres": self.tool("pkg-config", "--cflags", "--libs", "libpq").split()}
        for program, needs in PROGRAMS.items():
            sources = [program.replace("-", "_") + ".c", "measure.c"] + (["ceiling.c"] if needs else [])
            self.tool("cc", "-O2", "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Isrc", "-o",
                      os.path.join(self.folder, program), *[os.path.join(self.here, source) for source in sources],
                      *[word for name in needs for word in libraries[name]], cwd=self.root)

    # --- The hub ---

    @contextlib.contextmanager
    def hub(self, postgres=False, options=(), env=None, port=0):
        """A running hub with a new database and an admin key."""
        with self.place(postgres) as place, open(os.path.join(place.folder, "log"), "w+", encoding="utf-8") as log:
            process = launch([self.binary, "serve", "--data", place.folder, "--listen", f"127.0.0.1:{port}",
                              "--log-level", "warn", *place.options, *options], stderr=log,
                             env={**place.env, **(env or {})})
            try:
                line = first_line(process)
                found = re.search(r"http://127\.0\.0\.1:(\d+) .*?(mh_[\w-]+)", line)
                if not found:
                    raise CannotMeasure("the hub does not start")
                hub = Hub(process, int(found.group(1)), place.folder)
                hub.key = hub.post("keys/claim", {"token": found.group(2)})["token"]
                yield hub
                if process.poll() is not None:
                    raise CannotMeasure("the hub ended by itself")
            except CannotMeasure as error:
                log.seek(0)
                said = last_lines(log.read())
                raise CannotMeasure(f"{error}; the hub says: {said}" if said else str(error)) from None
            finally:
                stop(process)
                process.stdout.close()

    @contextlib.contextmanager
    def place(self, postgres):
        """Where a hub with a new database lives."""
        folder = tempfile.mkdtemp(dir=self.folder)
        try:
            if not postgres:
                yield Place(folder, f"{folder}/hub.db", [])
                return
            if self.postgres is None:
                self.postgres = Postgres(self)
            with self.postgres.database() as url:
                yield Place(folder, url, ["--database-url", url])
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def new_database(self, postgres):
        """Where an empty database with the hub's schema is: a file or a URL."""
        with self.place(postgres) as place:
            self.tool(self.binary, "migrate", "--data", place.folder, *place.options, env=place.env)
            yield place.where

    # --- Fastify ---

    def find_peer(self):
        """The Node and the script of the peer, its packages fetched."""
        folder = os.path.join(self.here, "peers")
        try:
            self.setup("npm", "benchmarks/peers")
        except CannotMeasure as error:
            raise CannotMeasure(f"the packages of benchmarks/peers are missing ({error})") from None
        pinned = glob.glob(os.path.join(folder, "node_modules", "node-linux-*", "bin", "node"))
        for node in [*pinned, shutil.which("node")]:
            if node and int(self.tool(node, "-p", "parseInt(process.versions.node)")) >= OLDEST_NODE:
                return [node, os.path.join(folder, "fastify.mjs")]
        raise CannotMeasure(f"there is no Node {OLDEST_NODE} or newer for Fastify")

    @contextlib.contextmanager
    def fastify(self):
        """A running peer, which is asked like a hub."""
        if self.peer is None:
            self.peer = self.find_peer()
        folder = tempfile.mkdtemp(dir=self.folder)
        with open(os.path.join(folder, "log"), "w+", encoding="utf-8") as log:
            process = launch([*self.peer, f"{folder}/peer.db"], stderr=log)
            try:
                line = first_line(process).strip()
                if not line:
                    log.seek(0)
                    raise CannotMeasure(f"Fastify does not start: {last_lines(log.read())}")
                port = int(line)
                yield Hub(process, port)
            finally:
                stop(process)
                process.stdout.close()
                shutil.rmtree(folder, ignore_errors=True)

    @staticmethod
    def free_port():
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            return one.getsockname()[1]


class Hub:
    """A process that answers on a port of this machine."""

    def __init__(self, process, port, folder=None):
        self.process, self.port, self.folder, self.key = process, port, folder, None

    def resident_kib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))

    def post(self, what, body):
        """Create something; the answer. Anything but 201 cannot be measured with."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TOOL_S)
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {self.key}"} if self.key else {})}
        try:
            connection.request("POST", "/api/v1/" + what, json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        except OSError as error:
            raise CannotMeasure(f"POST /api/v1/{what}: {error}") from None
        finally:
            connection.close()
        if answer.status != 201:
            raise CannotMeasure(f"POST /api/v1/{what} is answered {answer.status} {text[:300]!r}")
        return json.loads(text)


class Place:
    """A data folder, the database (a file or a URL), and how a hub is told of both."""

    def __init__(self, folder, where, options):
        self.folder, self.where, self.options = folder, where, options
        self.env = {"PATH": os.environ.get("PATH", ""), "HOME": folder}     # nobody's own settings


class Postgres:
    """A private PostgreSQL server, synced to disk: tools/with-postgres around a process that waits for us."""

    def __init__(self, bench):
        self.bench, self.count, psqls = bench, 0, sorted(glob.glob("/usr/lib/postgresql/*/bin/psql"))
        self.psql = psqls[-1] if psqls else "psql"
        self.process = launch([os.path.join(bench.root, "tools", "with-postgres"), "sh", "-c",
                               'echo "$HUB_TEST_DB $HUB_TEST_PG_SUPER"; exec cat'], stdin=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, env={**os.environ, "HUB_TEST_PG_FSYNC": "on"})
        urls = first_line(self.process).split()
        if len(urls) != 2:
            self.close()
            raise CannotMeasure("PostgreSQL does not start")
        self.url, self.owner_url = urls

    def run(self, sql):
        self.bench.tool(self.psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.owner_url, "-c", sql)

    @contextlib.contextmanager
    def database(self):
        """A new database; its URL."""
        self.count += 1
        name = f"bench_{self.count}"
        self.run(f"CREATE DATABASE {name} OWNER hub")
        try:
            yield self.url.replace("/hub?", f"/{name}?", 1)
        finally:
            self.run(f"DROP DATABASE {name} WITH (FORCE)")

    def close(self):
        """The end of its input ends the process inside, which ends the server."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            stop(self.process)
        self.process.stdout.close()
