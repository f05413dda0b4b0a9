"""The bridge of bridges/whatsapp-baileys, unmodified Baileys in it, between the hub and a server that speaks WhatsApp
Web (npm @openclaw/crabline). Text in, answer out, acknowledged; with hub and bridge killed at random, 10 times, with
TEST_LONG 100.
The ledger is the server's own recorder. With HUB_TEST_DB the bridge inserts into inbound_rows."""
import base64
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
BRIDGE = os.path.join(ROOT, "bridges", "whatsapp-baileys")
NODE = os.path.join(ROOT, "tools", "node")
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))
from hub import Hub  # noqa: E402


def check(name, good, *shown):
    print(("ok " if good else "not ok ") + "channels/baileys: " + name, *([] if good else shown), flush=True)


def until(test, seconds=15):
    end = time.time() + seconds
    while time.time() < end:
        if test():
            return True
        time.sleep(0.05)
    return False


class WhatsApp:
    """crabline, and what it recorded."""

    def __init__(self, folder):
        self.folder, self.ready = folder, os.path.join(folder, "ready.json")
        program = os.path.join(HERE, "node_modules/@openclaw/crabline/dist/src/bin/crabline.js")
        self.process = subprocess.Popen([NODE, program, "--json", "serve", "whatsapp", "--ready-file", self.ready],
                                        stdout=subprocess.DEVNULL, stderr=open(os.path.join(folder, "wa.log"), "w"),
                                        cwd=folder)
        assert until(lambda: os.path.exists(self.ready) and os.path.getsize(self.ready) > 0, 20)
        with open(self.ready, encoding="utf-8") as file:
            self.manifest = json.load(file)

    def say(self, number, text, message_id):
        """Somebody writes; the server takes it for delivery to the linked device."""
        body = {"chatJid": f"{number}@s.whatsapp.net", "senderJid": f"{number}@s.whatsapp.net", "text": text,
                "pushName": f"n{number}", "messageId": message_id}
        request = urllib.request.Request(self.manifest["endpoints"]["adminInboundUrl"], json.dumps(body).encode(),
                                         {"X-Crabline-Admin-Token": self.manifest["adminToken"],
                                          "Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def lines(self):
        try:
            with open(self.manifest["recorderPath"], encoding="utf-8") as file:
                return [json.loads(line) for line in file if line.endswith("\n")]
        except FileNotFoundError:
            return []

    def sent(self):
        """(text, id) of what the linked device sent and the server took."""
        return [(line["body"]["message"].get("conversation") or line["body"]["message"]["extendedTextMessage"]["text"],
                 line["body"]["key"]["id"])
                for line in self.lines() if line.get("accepted") and line["body"].get("key", {}).get("fromMe")]


    def receipted(self):
        """Ids that the linked device said it has: WhatsApp itself keeps all others and delivers them later."""
        return {line["body"]["attrs"]["id"] for line in self.lines()
                if isinstance(line.get("body"), dict) and line["body"].get("tag") == "receipt"}


class Bridge:
    def __init__(self, hub, key, whatsapp, folder):
        self.hub, self.key, self.whatsapp, self.folder, self.process = hub, key, whatsapp, folder, None

    def start(self):
        env = dict(os.environ, HUB_URL=f"http://127.0.0.1:{self.hub.port}", HUB_KEY=self.key, SEND_GAP_MS="0",
                   WHATSAPP_URL=self.whatsapp.manifest["endpoints"]["baileysWebSocketUrl"],
                   SPOOL_DIR=os.path.join(self.folder, "spool"), HUB_CHANNEL="whatsapp")
        env.pop("DATABASE_URL", None)
        if self.hub.database:
            env["DATABASE_URL"] = self.hub.database
        self.process = subprocess.Popen([NODE, os.path.join(BRIDGE, "bridge.js")], env=env, cwd=self.folder,
                                        stdout=open(os.path.join(self.folder, "bridge.out"), "a"),
                                        stderr=open(os.path.join(self.folder, "bridge.log"), "a"))

    def kill(self):
        self.process.kill()
        self.process.wait(10)


def session_of(jid):
    done = subprocess.run([NODE, os.path.join(HERE, "creds.mjs"), jid], capture_output=True, text=True, timeout=30,
                          env=dict(os.environ, BRIDGE_FOLDER=BRIDGE), check=True)
    return done.stdout


def state(hub, key):
    return hub.call("GET", "/api/v1/channels/whatsapp/pairing").json.get("state")


def main():
    subprocess.run([os.path.join(ROOT, "tools", "setup"), "npm", os.path.relpath(BRIDGE, ROOT)], check=True,
                   stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory(prefix="baileys-") as folder, Hub() as hub:
        whatsapp = WhatsApp(folder)
        bridge = None
        try:
            channel = hub.post("/api/v1/channels", {"kind": "baileys", "name": "whatsapp", "agent": "echo",
                                                    "policy": "auto_reply", "debounce_ms": 0, "per_hour": 100000,
                                                    "per_day": 1000000})
            check("the channel pulls", channel["pulls"], channel)
            key = hub.post("/api/v1/devices", {"name": "bridge", "channel": "whatsapp"})["token"]
            answer = hub.call("PUT", "/api/v1/bridge/state/creds",
                              {"value": session_of("15550000000:1@s.whatsapp.net")}, key=key)
            check("the session is kept", answer.status == 204, answer)
            check("nobody else's key reads it", hub.call("GET", "/api/v1/bridge/state/creds").status == 403)
            bridge = Bridge(hub, key, whatsapp, folder)
            bridge.start()
            check("the bridge opens its connection", until(lambda: state(hub, key) == "open"), state(hub, key))
            run(hub, whatsapp, bridge)
        finally:
            if bridge and bridge.process:
                bridge.kill()
            whatsapp.process.kill()
            whatsapp.process.wait(10)
            if os.environ.get("TEST_KEEP"):
                subprocess.run(["cp", "-r", folder, os.environ["TEST_KEEP"]], check=False)


def run(hub, whatsapp, bridge):
    whatsapp.say("15551000001", "hello", "IN0")
    check("a text comes in and is answered", until(lambda: [text for text, _ in whatsapp.sent()] == ["hello"]),
          whatsapp.lines()[-3:])
    check("the answer is acknowledged", until(lambda: [m["state"] for m in hub.get(
        "/api/v1/messages", direction="out")["items"]] == ["sent"]), hub.get("/api/v1/messages", direction="out"))
    kills(hub, whatsapp, bridge, 100 if os.environ.get("TEST_LONG") else 10, random.Random(7))


def kills(hub, whatsapp, bridge, rounds, roll):
    """Texts keep coming while hub or bridge are killed; each is answered once in the end."""
    said = []
    for i in range(rounds):
        for k in range(3):
            said.append(f"text {i}-{k}")
            whatsapp.say(f"1555{2000000 + len(said)}", said[-1], id_of(said[-1]))
            time.sleep(roll.random() * 0.1)
        time.sleep(roll.random() * 0.3)
        if roll.random() < 0.5:
            bridge.kill()
            bridge.start()
        else:
            hub.kill()
            hub.start()
        time.sleep(roll.random() * 1.2)
    # on PostgreSQL what a killed hub was deciding is taken up when its lease has run out
    settled = until(lambda: set(said) <= {text for text, _ in whatsapp.sent()}, 45 if hub.database else 12)
    if not settled:
        redeliver(hub, whatsapp, said)
        until(lambda: set(said) <= {text for text, _ in whatsapp.sent()}, 12)
    came = [m["text"] for m in pages(hub, direction="in") if m["text"] in said]
    answers = [text for text, _ in whatsapp.sent() if text in said]
    check(f"{rounds} kills: nothing that came is lost or doubled", sorted(came) == sorted(said),
          sorted(set(said) - set(came)), [text for text in set(came) if came.count(text) > 1])
    check(f"{rounds} kills: every answer went out once", sorted(answers) == sorted(said),
          sorted(set(said) - set(answers)), [text for text in set(answers) if answers.count(text) > 1])
    check("all of them are acknowledged", until(lambda: {m["state"] for m in pages(hub, direction="out")} == {"sent"}),
          [m["state"] for m in pages(hub, direction="out")])
    # The control: the ledger tells a doubled one.
    hub.post("/api/v1/messages/send", {"channel": "whatsapp", "to": "+15552000001", "text": said[0]})
    check("the ledger sees a double", until(lambda: [text for text, _ in whatsapp.sent()].count(said[0]) == 2),
          whatsapp.sent()[-2:])


def id_of(text):
    return "IN" + text.split()[1]


def redeliver(hub, whatsapp, said):
    """When all is quiet: what has no receipt comes again, as WhatsApp itself does. It would have the same id, so what
    the hub has is known there; this server takes no id twice, so such a text is left out."""
    receipted, stored = whatsapp.receipted(), {m["text"] for m in pages(hub, direction="in")}
    for n, text in enumerate(said):
        if id_of(text) not in receipted and text not in stored:
            whatsapp.say(f"1555{2000001 + n}", text, id_of(text) + "r")


def pages(hub, **query):
    found, cursor = [], None
    while True:
        page = hub.get("/api/v1/messages", limit=200, cursor=cursor, **query)
        found += page["items"]
        cursor = page["next"]
        if not cursor:
            return found


if __name__ == "__main__":
    main()
