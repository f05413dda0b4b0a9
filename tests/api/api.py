"""api - what the tests in this folder share: a hub whose calls keep their connection and give every answer back,
whatever its status, and the report they print."""
import http.client
import os
import re
import signal
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import hub as hubs

API = "/api/v1"


class Hub(hubs.Hub):
    """A running hub; each thread keeps one connection."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.local = threading.local()

    def __exit__(self, *_):
        self.stop(signal.SIGTERM)       # and not a kill: what a sanitizer finds is told at the end
        self.remove()

    def call(self, method, path, body=None, key="", headers=None, connection=None):
        if connection:
            return super().call(method, path, body, key, headers, connection)
        for last in (False, True):
            if not getattr(self.local, "connection", None):
                self.local.connection = self.connect(60)
            try:
                return super().call(method, path, body, key, headers, self.local.connection)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self.local.connection = None        # kept, but the server has closed it
                if last:
                    raise

    def get(self, path, **query):
        return self.call("GET", path + ("?" + urllib.parse.urlencode(query) if query else ""))

    def post(self, path, body=None, **options):
        return self.call("POST", path, body, **options)

    def items(self, path, **query):
        """All items of a list, over its pages."""
        found = []
        while True:
            answer = self.get(path, **query)
            if answer.status != 200:
                raise RuntimeError(f"GET {path} {query}: {answer}")
            found += answer.json["items"]
            query["cursor"] = answer.json["next"]
            if not answer.json["next"] or answer.json.get("has_more") is False:
                return found


def wait_for(what, wait_s=10):
    """Call `what` until it gives something true; that, or None when the time is over."""
    end = time.monotonic() + wait_s
    while True:
        value = what()
        if value or time.monotonic() > end:
            return value or None
        time.sleep(0.05)


class Report:
    """`ok NAME` or `not ok NAME` for everything that is tested, what explains a failure before it."""

    def __init__(self, prefix):
        self.prefix = f"api: {prefix}{' (PostgreSQL)' if os.environ.get('HUB_TEST_DB') else ''}:"
        self.failed = 0

    def check(self, name, good, *why):
        if not good:
            self.failed += 1
            for part in why:
                print(f"  {part}")
        print(f"{'ok' if good else 'not ok'} {self.prefix} {name}", flush=True)
        return good

    def same(self, name, got, wanted):
        return self.check(name, got == wanted, f"got    {got!r}", f"wanted {wanted!r}")

    def run(self, tests):
        """Start a hub and run functions (report, hub); one that raises has failed. Ends the program."""
        with Hub() as hub:
            for test in tests:
                try:
                    test(self, hub)
                except Exception as error:      # whatever it is, it is a failed test and the next one is run
                    self.check(test.__name__, False, f"{type(error).__name__}: {error}", hub.log()[-2000:])
                if hub.process.poll() is not None:
                    self.check(f"{test.__name__} leaves the hub alive", False, hub.log()[-4000:])
                    break
            else:
                self.same("the hub stops by itself", hub.stop(), 0)
            complaints = re.findall(r".*(?:runtime error|Sanitizer|Assertion).*", hub.log())
            self.check("nothing complained in the log", not complaints, *complaints[:10])
        raise SystemExit(1 if self.failed else 0)
