#!/usr/bin/env python3
"""media [KILLS] - kill -9 while files are uploaded and come in with messages. What was acknowledged has its bytes; no
row points to bytes that are missing, short or others; what is left over goes with the sweep. And the order of writing,
seen from below: all bytes, sync, rename, sync of the folder. Both checks have a control that must fail."""
import base64
import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from hub import ROOT, Hub

API = "/api/v1"


def blob(seed):
    """Bytes that nobody else has, of 1 byte to 600 KiB."""
    dice = random.Random(seed)
    return hashlib.sha256(str(seed).encode()).digest() + dice.randbytes(dice.choice([1, 100, 5000, 100000, 600000]))


class Load:
    """Two threads bring files until the hub is gone; what was acknowledged is kept."""

    def __init__(self, hub, round):
        self.hub, self.round, self.uploads, self.messages = hub, round, {}, {}
        self.threads = [threading.Thread(target=run) for run in (self.upload, self.say)]
        for thread in self.threads:
            thread.start()

    def upload(self):
        for n in range(10000):
            data = blob(f"u{self.round}.{n}")
            try:
                answer = self.hub.call("POST", API + "/media", data, headers={"Content-Type": "text/plain"})
            except (OSError, AttributeError, ValueError):
                return
            except Exception:       # http.client's own: the answer broke off
                return
            if answer.status == 201:
                self.uploads[answer.json["id"]] = hashlib.sha256(data).hexdigest()

    def say(self):
        for n in range(10000):
            data = blob(f"s{self.round}.{n}")
            body = {"text": "x", "id": f"s{self.round}.{n}", "files": [{"data": base64.b64encode(data).decode()}]}
            try:
                answer = self.hub.call("POST", API + "/sandbox/say", body)
            except Exception:
                return
            if answer.status == 201:
                self.messages[answer.json["id"]] = hashlib.sha256(data).hexdigest()

    def end(self):
        for thread in self.threads:
            thread.join(30)


def broken_files(rows, read):
    """The core of the check: which (name, hash) of rows do not have their bytes."""
    bad = []
    for name, wanted in rows:
        data = read(name)
        if data is None or hashlib.sha256(data).hexdigest() != wanted:
            bad.append(f"{name}: {'missing' if data is None else len(data)}")
    return bad


def kills(count):
    bad, seed = [], random.randrange(10**9)
    dice = random.Random(seed)
    uploads, messages = {}, {}
    with Hub() as hub:
        for round in range(count):
            load = Load(hub, f"{seed}.{round}")
            time.sleep(dice.uniform(0.02, 0.5))
            hub.kill()
            load.end()
            uploads.update(load.uploads)
            messages.update(load.messages)
            hub.start()

        def get(path):
            answer = hub.call("GET", API + path)
            return answer.body if answer.status == 200 else None
        acknowledged = len(uploads) + len(messages)
        bad += broken_files(uploads.items(), lambda id: get(f"/media/{id}"))
        bad += broken_files(messages.items(), lambda id: get(f"/messages/{id}/attachments/0"))
        for message in hub.pages(API + "/messages"):
            for file in message["attachments"]:
                if file["state"] != "stored" or get(f"/media/{file['media']}") is None:
                    bad.append(f"{message['id']} has {json.dumps(file)}")
        left, rows, attached = leftovers(hub)
    print(f"  seed {seed}: {count} kills, {acknowledged} acknowledged, {len(bad)} broken; after the sweep {left} "
          f"files, {rows} rows, {attached} of messages")
    for line in bad[:10]:
        print(f"  {line}")
    return acknowledged > 0 and attached >= len(messages) and not bad and left == rows == attached


def let_the_day_pass(hub):
    """Change the stopped hub's rows."""
    change = "UPDATE media SET sweep_ms = 1"
    if hub.database:
        hub.sql(change)
        return
    database = sqlite3.connect(os.path.join(hub.data, "hub.db"))
    with database:
        database.execute(change)
    database.close()


def leftovers(hub):
    """Stop, let every file's day be over, start, wait for the sweep: files, rows, files of messages."""
    hub.stop()
    let_the_day_pass(hub)
    hub.start()
    end = time.time() + 60
    while time.time() < end and int(hub.sql("SELECT count(*) FROM media WHERE sweep_ms IS NOT NULL")[0][0]):
        time.sleep(0.3)
    files = sum(len(names) for _, _, names in os.walk(os.path.join(hub.data, "media")))
    return [files] + [int(hub.sql(f"SELECT count(*) FROM {table}")[0][0]) for table in ("media", "attachments")]


def naive_store():
    """The control: a store that says yes first and then writes under the final name. The check must see it."""
    writer = ("import hashlib,os,sys,time\nfor n in range(100000):\n d=os.urandom(300000)\n"
              " print(n,hashlib.sha256(d).hexdigest(),flush=True)\n"
              " f=open(f'{sys.argv[1]}/{n}','wb')\n for i in range(0,len(d),1000):\n"
              "  f.write(d[i:i+1000]); f.flush(); time.sleep(0.001)\n")
    with tempfile.TemporaryDirectory() as folder:
        child = subprocess.Popen([sys.executable, "-c", writer, folder], stdout=subprocess.PIPE, text=True)
        rows = [child.stdout.readline().split()]
        time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
        rows += [line.split() for line in child.stdout.read().splitlines()]
        child.wait(10)
        child.stdout.close()

        def read(name):
            path = os.path.join(folder, name)
            return open(path, "rb").read() if os.path.exists(path) else None
        return len(broken_files([row for row in rows if len(row) == 2], read)) > 0


def order_faults(lines):
    """What is renamed must be synced after its last write, and its folder synced after the rename."""
    bad, dirty, unsynced = [], set(), {}
    for line in lines:
        what, path, *more = line.split()
        if what == "write":
            dirty.add(path)
        elif what == "fsync":
            dirty.discard(path)
            unsynced.pop(path, None)
        elif what == "rename":
            if path in dirty:
                bad.append(f"renamed before its sync: {path}")
            unsynced[os.path.dirname(more[0])] = more[0]
    return bad + [f"folder not synced after {path}" for path in unsynced.values()]


def writes_in_order():
    with tempfile.TemporaryDirectory() as folder:
        shim, calls = os.path.join(folder, "calls.so"), os.path.join(folder, "calls")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", shim, os.path.join(ROOT, "tests/harness/calls.c")],
                       check=True, timeout=60)
        with Hub(env={"LD_PRELOAD": shim, "MEDIA_CALLS": calls}) as hub:
            for n in range(5):
                hub.call("POST", API + "/media", b"%d" % n * 100000, headers={"Content-Type": "text/plain"})
        with open(calls, encoding="utf-8") as file:
            lines = file.read().splitlines()
    bad = order_faults(lines)
    for line in bad:
        print(f"  {line}")
    return not bad and sum(line.startswith("rename") for line in lines) == 5


def order_control():
    early = ["write /d/media/a.part", "rename /d/media/a.part /d/media/a", "fsync /d/media/a", "fsync /d/media"]
    unsynced = ["write /d/media/a.part", "fsync /d/media/a.part", "rename /d/media/a.part /d/media/a"]
    good = unsynced + ["fsync /d/media"]
    return bool(order_faults(early)) and bool(order_faults(unsynced)) and not order_faults(good)


def report(name, good):
    print(f"{'ok' if good else 'not ok'} media: {name}", flush=True)
    return good


if __name__ == "__main__":
    results = [report("the control that writes after its yes is seen", naive_store()),
               report("controls of the order are seen", order_control()),
               report("bytes, sync, rename, sync of the folder", writes_in_order()),
               report("killed while files come in", kills(int(sys.argv[1]) if len(sys.argv) > 1 else 12))]
    sys.exit(0 if all(results) else 1)
