#!/usr/bin/env python3
"""live.py - a hub built with a sanitizer under mixed load: nothing it does at once may make the sanitizer speak.

Texts are received in ones and batches, answered, sent, listed, searched and synced; event streams and WebSockets come
and go, some without reading; channels are added, disabled and enabled; keys are made and revoked. Meanwhile the hub is
stopped by SIGTERM and started again, and at last killed with the load still on. Whatever a sanitizer writes, and every
exit code but 0, is a fault. The control is a program built the same way that has the fault in it.

    live.py [SECONDS] [STOPS]       default 20 s, 2 stops in between; HUB_BINARY names the program"""
import base64
import http.client
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import hub as hubs

API = "/api/v1"
COMPLAINT = re.compile(r".*(?:runtime error|Sanitizer|[Aa]ssertion|assert_fail|SUMMARY).*")
CONTACTS = 8


class Load:
    """What several threads do to one hub, until `stopping`; a hub that is away is waited for."""

    def __init__(self, hub):
        self.hub, self.stopping, self.counts, self.faults = hub, False, {}, []

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def call(self, method, path, body=None, what=None, connection=None):
        """The answer's JSON when it is a good one, else None. An answer of 500 is a fault; a refusal is none."""
        try:
            answer = self.hub.call(method, API + path, body, connection=connection)
        except (OSError, http.client.HTTPException):
            time.sleep(0.02)
            return None
        if answer.status == 500:
            self.faults.append(f"{method} {path}: {answer}")
        if answer.status >= 300:
            self.count(f"refused {answer.status}")
            return None
        self.count(what or path.split("?")[0].strip("/"))
        return answer.json

    def forever(self, step, pause_s=0.0):
        chance, number = random.Random(step.__name__), 0
        while not self.stopping:
            try:
                step(chance, number)
            except Exception as error:          # a mistake of this program, which must not pass for quiet
                self.faults.append(f"{step.__name__}: {type(error).__name__}: {error}")
                return
            number += 1
            if pause_s:
                time.sleep(pause_s)

    def receive(self, chance, number):
        one = {"from": f"+1555010{chance.randrange(CONTACTS):04d}", "text": f"hello {number}"}
        if number % 5 == 0:
            many = [{**one, "id": f"b-{number}-{i}"} for i in range(20)]
            self.call("POST", "/messages/batch", {"channel": "phone", "messages": many})
        elif number % 7 == 0:
            self.call("POST", "/messages", {**one, "channel": "phone", "id": "the same"}, "duplicates")
        else:
            self.call("POST", "/messages", {**one, "channel": "phone"})

    def send(self, chance, _):
        to = f"+1555010{chance.randrange(CONTACTS):04d}"
        sent = self.call("POST", "/messages/send", {"channel": "phone", "to": to, "text": "answer " * 20})
        if sent and chance.random() < 0.3:
            self.call("POST", f"/messages/{sent['id']}/cancel", {}, "cancel")
        if sent and chance.random() < 0.3:
            self.call("GET", f"/messages/{sent['id']}/timeline", what="timeline")

    def look(self, chance, _):
        path = chance.choice(["/messages?limit=100", "/conversations", "/contacts", "/outbox", "/stats", "/sync/status",
                              "/events/list?limit=200", "/audit", "/messages?q=hello", "/keys", "/channels"])
        self.call("GET", path)

    def sync(self, *_):
        cursor = None
        for _ in range(20):
            page = self.call("GET", "/sync/messages?limit=100" + (f"&cursor={cursor}" if cursor else ""))
            cursor = page and page.get("cursor") or page and page.get("next")
            if not cursor or self.stopping:
                return

    def manage(self, _, number):
        made = self.call("POST", "/channels", {"kind": "sandbox", "name": f"side {number}"})
        if made:
            self.call("POST", f"/channels/{made['id']}/disable", {}, "disable")
        phone = self.call("GET", "/channels", what="channels")
        phone = [one["id"] for one in phone["items"] if one["name"] == "phone"] if phone else []
        if phone:
            self.call("POST", f"/channels/{phone[0]}/disable", {}, "disable")
            time.sleep(0.05)
            self.call("POST", f"/channels/{phone[0]}/enable", {}, "enable")
        key = self.call("POST", "/keys", {"name": f"key {number}", "scopes": ["read"]})
        if key:
            self.call("DELETE", f"/keys/{key['id']}", what="revoke")

    def stream(self, chance, number):
        """An event stream or a WebSocket that reads for a while, or never does, and leaves with or without a word."""
        websocket = number % 2
        lines = [f"GET {'/ws' if websocket else API + '/events'} HTTP/1.1", "Host: hub",
                 f"Authorization: Bearer {self.hub.key}"]
        if websocket:
            lines += ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                      "Sec-WebSocket-Key: " + base64.b64encode(os.urandom(16)).decode()]
        try:
            with socket.create_connection(("127.0.0.1", self.hub.port), 5) as link:
                link.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
                end = time.monotonic() + chance.uniform(0.0, 1.5)
                link.settimeout(0.2)
                while time.monotonic() < end and not self.stopping:
                    if number % 5 == 4:
                        time.sleep(0.05)
                    elif self.heard(link):
                        return
                    if websocket and chance.random() < 0.2:
                        link.sendall(b"\x89\x82\x01\x02\x03\x04" + b"ab")
                if websocket and number % 3 == 0:
                    link.sendall(b"\x88\x82\x00\x00\x00\x00\x03\xe8")
        except OSError:
            time.sleep(0.02)

    def heard(self, link):
        """True when the other side has gone."""
        try:
            data = link.recv(65536)
        except TimeoutError:
            return False
        if data:
            self.count("heard")
        return not data


def under_load(hub, seconds, stops):
    """The faults of a run: what the sanitizer says, exit codes, answers of 500, and work that never got done."""
    load = Load(hub)
    works = [(load.receive, 0), (load.receive, 0.01), (load.send, 0), (load.look, 0), (load.sync, 0.05),
             (load.manage, 0.2), (load.stream, 0), (load.stream, 0), (load.stream, 0)]
    threads = [threading.Thread(target=load.forever, args=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for stop in range(stops + 1):
        time.sleep(seconds / (stops + 1))
        if hub.process.poll() is not None:
            load.faults.append(f"the hub ended by itself with {hub.process.poll()}")
            break
        if stop < stops:
            code = hub.stop(signal.SIGTERM, 60)
            if code:
                load.faults.append(f"SIGTERM under load: exit code {code}")
            hub.start(60)
    load.stopping = True
    for thread in threads:
        thread.join(30)
    if hub.process.poll() is None:
        code = hub.stop(signal.SIGTERM, 60)
        if code:
            load.faults.append(f"SIGTERM: exit code {code}")
    print(", ".join(f"{name} {count}" for name, count in sorted(load.counts.items())))
    for needed in ("messages", "messages/batch", "messages/send", "sync/messages", "channels", "enable", "heard"):
        if not load.counts.get(needed):
            load.faults.append(f"{needed} was never done")
    if complaints(hub.log()):
        load.faults.append(hub.log()[-12000:])
    return load.faults


def complaints(log):
    return [line for line in log.splitlines() if COMPLAINT.match(line)]


FAULTY = """
#include <pthread.h>
#include <stdlib.h>
static int *shared;
static void *touch(void *arg) { (void)arg; for (int i = 0; i < 100000; i++) ++*shared; return 0; }
int main(void)
{
    pthread_t thread;
    shared = calloc(1, sizeof *shared);
    pthread_create(&thread, 0, touch, 0);
    touch(0);
    pthread_join(thread, 0);
    free(shared);
    return *(volatile int *)shared > 0 ? 0 : 3;
}
"""


def control(kind, folder):
    """A race and a use after free, built as the hub is, must be heard of."""
    program = os.path.join(folder, "faulty")
    subprocess.run(["clang", "-g", f"-fsanitize={kind}", "-x", "c", "-", "-o", program, "-pthread"], input=FAULTY,
                   text=True, check=True, timeout=60)
    done = subprocess.run([program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode and complaints(done.stderr), "nothing was said: this harness proves nothing"


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20
    stops = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    kind = "thread" if "tsan" in hubs.BINARY else "address"
    cases = hubs.Cases(f"live {kind}{' on PostgreSQL' if os.environ.get('HUB_TEST_DB') else ''}:")

    def real():
        hub = hubs.Hub()
        try:
            hub.start(60)
            hub.post(API + "/channels", {"kind": "sandbox", "name": "phone", "settings": {}})
            faults = under_load(hub, seconds, stops)
            assert not faults, "\n".join(faults)
        finally:
            if hub.process:
                hub.kill()
            hub.remove()

    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        cases.run("control is heard of", control, kind, folder)
    cases.run(f"{seconds:g} s of mixed load", real)
    cases.exit()


if __name__ == "__main__":
    main()
