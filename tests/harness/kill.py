#!/usr/bin/env python3
"""kill -9 under load: nothing acknowledged is lost, nothing is doubled, nothing leaves its order (RELIABILITY G2).

Clients post received texts and texts to send, each again and again until it is acknowledged, one after the other
per contact. The hub is killed and started again; a provider on loopback keeps a ledger of what really reached it. At
the end hub and ledger must agree with what was acknowledged. The control is a server that acknowledges before it
commits: the same check must find it out.

    kill.py [KILLS]       default 200"""
import http.client
import http.server
import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import hub as hubs

CONTACTS = 6


class Ledger(http.server.ThreadingHTTPServer):
    """A phone with the SMS Gateway app: POST /messages once per id; a repeat is 409, as the app answers it."""
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), LedgerCall)
        self.accepted, self.known, self.lock = [], set(), threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        """A killed hub resets its connections."""


class LedgerCall(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            known = message["id"] in self.server.known
            self.server.known.add(message["id"])
            if not known:
                self.server.accepted.append((message["id"], message["phoneNumbers"][0], message["textMessage"]["text"]))
        body = json.dumps({"id": message["id"], "state": "Pending"}).encode()
        self.send_response(409 if known else 202)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Client(threading.Thread):
    """Posts numbered texts for one contact, each until it is acknowledged."""

    def __init__(self, target, make, pause_s=0.0):
        super().__init__(daemon=True)
        self.pause_s = pause_s
        self.target, self.make, self.acknowledged, self.stopping = target, make, [], False
        self.refused = None

    def run(self):
        number = 0
        while not self.stopping:
            path, body, headers = self.make(number)
            if self.post(path, body, headers):
                self.acknowledged.append(body["text"])
                number += 1
                time.sleep(self.pause_s)

    def post(self, path, body, headers):
        while not self.stopping:
            try:
                answer = self.target.call("POST", path, body, headers=headers)
            except (OSError, http.client.HTTPException):
                time.sleep(0.005)
                continue
            if 200 <= answer.status < 300:
                return True
            if answer.status < 500:
                self.refused = answer
                self.stopping = True
            time.sleep(0.005)
        return False


def inbound(contact):
    def make(number):
        return ("/api/v1/messages", {"channel": "phone", "from": f"+1555010{contact:04d}",
                                     "id": f"in-{contact}-{number}", "text": f"{contact} says {number}"}, {})
    return make


def outbound(contact):
    def make(number):
        return ("/api/v1/messages/send", {"channel": "phone", "to": f"+1555020{contact:04d}",
                                          "text": f"{contact} hears {number}"},
                {"Idempotency-Key": f"out-{contact}-{number}"})
    return make


def check_order(what, texts):
    """Per contact exactly 0, 1, 2, ... in this order; returns the faults found."""
    faults, seen = [], {}
    for text in texts:
        contact, _, number = text.split()
        if int(number) != seen.get(contact, 0):
            faults.append(f"{what}: contact {contact} has {number} where {seen.get(contact, 0)} belongs")
        seen[contact] = int(number) + 1
    return faults


def check_all_there(what, acknowledged, stored):
    missing = set(acknowledged) - set(stored)
    faults = [f"{what}: {len(missing)} acknowledged are lost, such as {sorted(missing)[:3]}"] if missing else []
    if len(stored) != len(set(stored)):
        faults.append(f"{what}: {len(stored) - len(set(stored))} are doubled")
    return faults


def kill_loop(target, kills, clients):
    for client in clients:
        client.start()
    chance = random.Random(7)
    for _ in range(kills):
        time.sleep(chance.uniform(0.02, 0.25))
        target.kill()
        target.start()
    time.sleep(0.3)
    for client in clients:
        client.stopping = True
    for client in clients:
        client.join(20)
        assert client.refused is None, client.refused


def set_up(target, ledger):
    target.post("/api/v1/egress", {"network": "127.0.0.1/32", "port": 0})
    target.post("/api/v1/channels", {"kind": "android", "name": "phone", "settings": {
        "base_url": f"http://127.0.0.1:{ledger.server_port}", "username": "sms", "password": "secret",
        "signing_key": "k3yABCDE"},
        "per_second": 0, "per_hour": 0, "per_day": 0, "per_contact_hour": 0})


def run_hub(kills):
    ledger = Ledger()
    target = hubs.Hub()
    target.start()
    try:
        set_up(target, ledger)
        receiving = [Client(target, inbound(contact)) for contact in range(CONTACTS)]
        sending = [Client(target, outbound(contact), 0.05) for contact in range(CONTACTS)]
        kill_loop(target, kills, receiving + sending)
        received = [text for client in receiving for text in client.acknowledged]
        sent = [text for client in sending for text in client.acknowledged]

        def waiting():
            return sum(int(row[0]) for row in target.sql("SELECT COUNT(*) FROM jobs WHERE kind = 1"))
        hubs.until(lambda: waiting() == 0, 150, 0.2)
        texts = "SELECT text FROM messages WHERE direction = %d ORDER BY conversation_id, position"
        stored = [row[0] for row in target.sql(texts % 0)]
        queued = [row[0] for row in target.sql(texts % 1)]
        unknown = [row[0] for row in target.sql("SELECT text FROM messages WHERE direction = 1 AND state = 10")]
        reached = [entry[2] for entry in ledger.accepted]
        faults = check_all_there("received", received, stored) + check_order("received", stored)
        faults += check_all_there("to send", sent, queued) + check_order("to send", queued)
        faults += check_all_there("at the provider", set(sent) - set(unknown), reached)
        faults += check_order("at the provider", reached) if not unknown else []
        print(f"{kills} kills: {len(received)} received and {len(sent)} sent acknowledged, {len(reached)} at the "
              f"provider, {len(unknown)} unknown, {len(faults)} faults")
        print("\n".join(faults[:10]))
        return faults
    finally:
        target.kill()
        target.remove()
        ledger.shutdown()


NAIVE = """
import http.server, json, sqlite3, sys, threading, time
database = sqlite3.connect(sys.argv[1], check_same_thread=False, isolation_level=None)
database.execute("CREATE TABLE IF NOT EXISTS messages (id TEXT PRIMARY KEY, text TEXT)")
waiting, lock = [], threading.Lock()
def commit():
    while True:
        time.sleep(0.05)
        with lock:
            rows, waiting[:] = list(waiting), []
        database.executemany("INSERT OR IGNORE INTO messages VALUES (?, ?)", rows)
class Call(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with lock:
            waiting.append((message["id"], message["text"]))
        self.send_response(201); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"{}")
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Call)
threading.Thread(target=commit, daemon=True).start()
print(server.server_port, flush=True)
server.serve_forever()
"""


class Naive(hubs.Hub):
    """The control: 201 at once, the commit up to 50 ms later."""

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([sys.executable, "-c", NAIVE, self.data + "/naive.db", "0"],
                                            stdout=subprocess.PIPE, stderr=log)
        self.port = int(self.process.stdout.readline())


def run_control():
    target = Naive()
    target.start()
    try:
        receiving = [Client(target, inbound(contact)) for contact in range(CONTACTS)]
        kill_loop(target, 5, receiving)
        acknowledged = [text for client in receiving for text in client.acknowledged]
        time.sleep(0.2)
        with sqlite3.connect(target.data + "/naive.db") as database:
            stored = [row[0] for row in database.execute("SELECT text FROM messages")]
        faults = check_all_there("control", acknowledged, stored)
        print(f"control: {len(acknowledged)} acknowledged, {len(faults)} faults: {faults[:1]}")
        return faults
    finally:
        target.kill()
        target.remove()


def main():
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 200

    def control():
        assert run_control(), "it lost nothing: this harness proves nothing"

    def real():
        assert not run_hub(kills)

    cases = hubs.Cases("kill")
    cases.run("control loses what it acknowledged", control)
    cases.run(f"{kills} kills lose, double and reorder nothing", real)
    cases.exit()


if __name__ == "__main__":
    main()
