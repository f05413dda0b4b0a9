#!/usr/bin/env python3
"""A channel in 80 lines: what stands in one file comes in, what goes out is written to another.

The hub starts it with CHANNEL_CONFIG = {"inbox": FILE, "outbox": FILE} and speaks JSON lines with it
(docs/channels/exec.md). A line of the inbox is {"address": WHO, "text": WHAT}; its number is the cursor, so that
nothing is lost and nothing comes twice however often either side is killed. {"forgets": true} makes it a bad one: the
test's proof that it would notice."""
import json
import os
import sys
import threading
import time

CONFIG = json.loads(os.environ["CHANNEL_CONFIG"])
LOCK = threading.Lock()
TOLD = None                 # lines of the inbox that the hub was told of; None until it asked


def say(line):
    with LOCK:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def watch():
    """Tell what is new in the inbox."""
    global TOLD
    while True:
        time.sleep(0.03)
        if TOLD is None or not os.path.exists(CONFIG["inbox"]):
            continue
        with open(CONFIG["inbox"], encoding="utf-8") as file:
            lines = file.read().split("\n")[:-1]
        while TOLD < len(lines):
            number = TOLD + 1
            say({"event": "message", "id": f"in-{number}", "cursor": str(number), **json.loads(lines[TOLD])})
            TOLD = number


def lines_now():
    with open(CONFIG["inbox"], encoding="utf-8") as file:
        return file.read().count("\n")


def send(asked):
    text = asked["text"]
    if text == "refuse":
        return {"outcome": "refused", "code": "unknown", "hint": "Nobody has this address."}
    if text == "die":
        os._exit(1)
    with open(CONFIG["outbox"], "a", encoding="utf-8") as file:
        file.write(json.dumps({"to": asked["to"], "text": text}) + "\n")
    if text == "die late":
        os._exit(1)
    return {"outcome": "done", "external_id": "out-" + asked["id"]}


def main():
    global TOLD
    with open(CONFIG["inbox"] + ".pid", "w", encoding="utf-8") as file:
        file.write(str(os.getpid()))
    threading.Thread(target=watch, daemon=True).start()
    say({"event": "ready"})
    for line in sys.stdin:
        if not line.endswith("\n"):
            break           # half a line is none
        asked = json.loads(line)
        if asked["op"] == "poll" and (TOLD is None or asked.get("again")):
            TOLD = int(asked["cursor"] or 0) if not CONFIG.get("forgets") else lines_now()
        elif asked["op"] == "send":
            say({"id": asked["id"], **send(asked)})
        elif asked["op"] == "probe":
            say({"id": asked["id"], "ok": True, "summary": "Writes to " + CONFIG["outbox"] + "."})


if __name__ == "__main__":
    main()
