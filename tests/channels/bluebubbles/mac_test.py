"""The hub against a simulated Mac (mac.py), whose dialect a published client checks (kit.mjs)."""
import base64
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path[:0] = [os.path.join(ROOT, "tests", "lib"), HERE]
from hub import Cases, Hub, until  # noqa: E402
from mac import Mac  # noqa: E402

THEM, NODE = "+15550100001", os.path.join(ROOT, "tools", "node")
NO_LIMITS = {"per_second": 0, "per_hour": 0, "per_day": 0, "per_contact_hour": 0, "spacing_ms": 0, "new_per_day": 0,
             "warmup_days": 0}


class Run:
    """A hub with one channel, and the Mac behind it."""

    def __init__(self, hub, mac, kind):
        self.hub, self.mac, self.kind, self.hook = hub, mac, kind, None

    def configure(self, **settings):
        if settings:
            self.hub.post("/api/v1/channels", {"kind": self.kind, "name": self.kind, "settings": settings})
        changed = self.hub.call("PATCH", f"/api/v1/channels/{self.kind}", {"settings": {"catch_up_s": 5}, **NO_LIMITS})
        assert changed.status == 200, changed
        self.hub.post("/api/v1/egress", {"network": "127.0.0.1/32", "port": 0})
        self.hook = f"http://127.0.0.1:{self.hub.port}{changed.json['hook_path']}"

    def listening(self):
        """The first round of the catch-up has said where the channel begins."""
        until(lambda: self.hub.sql("SELECT count(*) FROM channels WHERE cursor IS NOT NULL")[0][0] == "1", wait_s=15)

    def register(self):
        self.mac.webhooks = [{"id": 1, "url": self.hook, "events": ["*"], "created": 0}]

    def stored(self, text):
        items = self.hub.get("/api/v1/messages", channel=self.kind, limit=200)["items"]
        return [message for message in items if message["text"] == text]

    def comes(self, text, wait_s=10):
        return until(lambda: self.stored(text), wait_s=wait_s)

    def send(self, text, to=THEM, **more):
        return self.hub.post("/api/v1/messages/send", {"to": to, "text": text, "channel": self.kind, **more})["id"]

    def state(self, message, *wanted, wait_s=10):
        return until(lambda: (m := self.hub.get(f"/api/v1/messages/{message}"))["state"] in wanted and m, wait_s=wait_s)

    def arrived(self, text, **more):
        """Sent, and on the Mac exactly once, under the id that the hub has."""
        message = self.state(self.send(text, **more), "sent", "delivered", "read")
        assert self.mac.sent(text) == 1, self.mac.ledger
        guid = [entry["guid"] for entry in self.mac.ledger if entry.get("text") == text][0]
        assert message["external_id"] == guid, (message, guid)
        return message

    # --- In

    def text_in(self):
        self.mac.says("h\u00e9llo \U0001f44b\u200d \u05e9\u05dc\u05d5\u05dd")
        self.comes("h\u00e9llo \U0001f44b\u200d \u05e9\u05dc\u05d5\u05dd")

    def probed(self):
        report = self.hub.post(f"/api/v1/channels/{self.kind}/test")
        assert report["summary"] == "The server answers and posts its events to this channel.", report

    def dropped(self):
        self.mac.drop = True
        for number in range(3):
            self.mac.says(f"lost on the way {number}")
        self.mac.drop = False
        for number in range(3):
            assert len(self.comes(f"lost on the way {number}")) == 1
        time.sleep(5.5)             # the next round sees them again
        for number in range(3):
            assert len(self.stored(f"lost on the way {number}")) == 1

    def away(self):
        """What came while the hub was down, more than a page of it, is there once and in order."""
        self.hub.stop()
        for number in range(130):
            self.mac.says(f"while away {number}")
        self.hub.start()
        self.comes("while away 129")
        items = self.hub.get("/api/v1/messages", channel=self.kind, limit=500)["items"]
        found = [m["text"] for m in items if m["text"].startswith("while away ")]
        wanted = [f"while away {number}" for number in range(130)]
        assert sorted(found, key=lambda text: int(text.split()[-1])) == wanted, len(found)

    def files_later(self):
        self.mac.late_files = True
        self.mac.says("a picture", files=[("a.png", "image/png", b"\x89PNG\r\n\x1a\n....")])
        self.mac.late_files = False
        message = self.comes("a picture", wait_s=15)[0]["id"]
        files = until(lambda: [f for f in self.hub.get(f"/api/v1/messages/{message}")["attachments"]
                               if f["state"] == "stored"])
        assert len(files) == 1 and files[0]["name"] == "a.png" and files[0]["size"] == 12, files

    def files_out(self):
        data = base64.b64encode(b"FILEBYTES").decode()
        self.state(self.send("with a file", attachments=[{"name": "a.txt", "data": data}]), "sent")
        assert self.mac.sent("with a file") == 1
        assert [entry["files"] for entry in self.mac.ledger if entry.get("files")] == [[b"FILEBYTES"]]

    def group(self):
        self.mac.bare = True
        self.mac.says("to all of us", chat="iMessage;+;chat777")
        message = self.comes("to all of us")[0]
        self.mac.bare = False
        conversation = self.hub.get(f"/api/v1/conversations/{message['conversation_id']}")
        assert "chat777" in json.dumps(conversation), conversation
        assert not [m for m in self.stored("to all of us") if m["conversation_id"] != message["conversation_id"]]

    def update_is_no_message(self):
        row = self.mac.says("first wording")
        self.comes("first wording")
        self.mac.happens(row["guid"], text="second wording", dateEdited=self.mac.now_ms())
        changed = self.comes("second wording")
        assert len(changed) == 1 and not self.stored("first wording")
        reaction = self.mac.says("Loved \u201csecond wording\u201d", associatedMessageType="love",
                                 associatedMessageGuid="p:0/" + row["guid"])
        until(lambda: reaction and "\u2764" in json.dumps(self.hub.get(f"/api/v1/messages/{changed[0]['id']}"),
                                                            ensure_ascii=False), wait_s=10)
        assert not self.stored("Loved \u201csecond wording\u201d")

    # --- Out

    def text_out(self):
        text = "50% & \"quotes\" $(x) \\ \u4f60\u597d\nsecond line"
        message = self.arrived(text)
        self.mac.happens(message["external_id"], dateDelivered=self.mac.now_ms())
        self.state(message["id"], "delivered")
        self.mac.happens(message["external_id"], dateRead=self.mac.now_ms())
        self.state(message["id"], "read")
        time.sleep(0.3)
        assert len(self.stored(text)) == 1      # its own echo is no second message

    def somebody_new(self):
        assert "any;-;+15550177777" not in self.mac.chats
        self.arrived("to somebody new", to="+15550177777")

    def any_only(self):
        self.mac.any_only = True
        self.arrived("under any")
        self.mac.any_only = False

    def lost_answers(self):
        for fault in ("#lost500", "#cut", "#html", "#wrong", "#twice"):
            self.arrived(f"{fault} {self.kind}")

    def twins(self):
        """Equal texts whose answers are lost: our own token in the echo tells them apart."""
        text = "#lost500 twins"
        first = self.state(self.send(text), "sent")
        second = self.state(self.send(text), "sent")
        sent = [entry["guid"] for entry in self.mac.ledger if entry.get("text") == text]
        assert [first["external_id"], second["external_id"]] == sent, (first, second, sent)

    def control(self):
        """The ledger notices what goes out twice."""
        self.state(self.send("twice, on purpose"), "sent")
        try:
            self.arrived("twice, on purpose")
        except AssertionError:
            assert self.mac.sent("twice, on purpose") == 2
            return
        raise AssertionError("a doubled send went unnoticed")

    def only_one_at_a_time(self):
        self.mac.most_in_flight = 0
        sent = [self.send(f"#late:0.4 number {number}", to=f"+1555010010{number}") for number in range(4)]
        for message in sent:
            self.state(message, "sent")
        assert self.mac.most_in_flight == 1, self.mac.most_in_flight

    def refused(self):
        message = self.state(self.send("#error22 nobody"), "failed")
        assert message["error_code"] == "22" and "SMS" in message["error_hint"], message
        assert self.mac.sent("#error22 nobody") == 0

    def unknown(self):
        message = self.send("#never went out")
        self.state(message, "unknown")
        time.sleep(1)
        asked = [body for method, path, body in self.mac.requests if path == "message/text"
                 and body.get("message") == "#never went out"]
        assert len(asked) == 1, asked           # nothing is tried again in silence

    def killed_while_sending(self):
        self.mac.received.clear()
        message = self.send("#late:1 killed meanwhile")
        until(lambda: self.mac.sent("#late:1 killed meanwhile"))
        self.mac.drop = True
        self.hub.kill()
        time.sleep(1.2)
        self.hub.start()
        self.mac.drop = False
        done = self.state(message, "sent", wait_s=20)
        assert self.mac.sent("#late:1 killed meanwhile") == 1 and done["external_id"], done
        assert len(self.stored("#late:1 killed meanwhile")) == 1

    def chunked(self):
        self.mac.chunked = True
        self.arrived("in pieces")
        self.mac.chunked = False

    def acts(self):
        message = self.arrived("to be changed")
        path = f"/api/v1/messages/{message['id']}"
        assert self.hub.call("PUT", path + "/reaction", {"emoji": "\U0001f44d"}).status < 300
        until(lambda: {"what": "react", "guid": message["external_id"], "reaction": "like"} in self.mac.ledger)
        assert self.hub.call("DELETE", path + "/reaction").status < 300
        until(lambda: {"what": "react", "guid": message["external_id"], "reaction": "-like"} in self.mac.ledger)
        assert self.hub.call("PATCH", path, {"text": "changed"}).status < 300
        until(lambda: [e for e in self.mac.ledger if e["what"] == "edit" and e["text"] == "changed"])
        assert self.hub.call("DELETE", path).status < 300
        until(lambda: [e for e in self.mac.ledger if e["what"] == "unsend" and e["guid"] == message["external_id"]])

    def without_private_api(self):
        message = self.arrived("not to be changed")
        self.mac.private_api = False
        assert self.hub.call("PUT", f"/api/v1/messages/{message['id']}/reaction", {"emoji": "\U0001f44d"}).status < 300
        until(lambda: self.hub.sql("SELECT 1 FROM attempts WHERE code = 'no_private_api' AND "
                                   "detail LIKE '%private API%'"))
        report = self.hub.post(f"/api/v1/channels/{self.kind}/test")
        assert '"private_api": false' in json.dumps(report), report
        self.arrived("still goes out")
        self.mac.private_api = True

    def wrong_password(self):
        was, self.mac.secret = self.mac.secret, "changed"
        report = self.hub.call("POST", f"/api/v1/channels/{self.kind}/test", {})
        assert "password" in report.body.decode(), report
        message = self.state(self.send("with a wrong password"), "failed", "queued")
        assert self.mac.sent("with a wrong password") == 0, message
        self.mac.secret = was

    # --- The dialect

    def dialect(self):
        """Photon's own client is content with the simulator, and the hub asks for the same things in the same words."""
        mac = Mac(photon=True, secret="k3y")
        mac.says("hello")
        chat = f"any;-;{THEM}"
        done = subprocess.run([NODE, os.path.join(HERE, "kit.mjs"), mac.url, mac.secret, chat], capture_output=True,
                              text=True,
                              timeout=60, cwd=HERE, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        said = json.loads(done.stdout.strip().splitlines()[-1])
        assert said["text"]["text"] == "from the kit" and said["refused"] == "22", said
        assert [row["text"] for row in said["rows"]][:2] == ["hello", "edited by the kit"], said["rows"]
        assert said["rows"][0]["chats"][0]["guid"] == chat and said["info"]["private_api"] is True
        assert mac.sent("to somebody new") == 1 and [e for e in mac.ledger if e.get("files") == [b"FILEBYTES"]]
        kit, ours = {}, {}
        for asked, into in ((mac.requests, kit), (self.mac.requests, ours)):
            for method, path, body in asked:
                words = "/".join("*" if len(part) > 20 or ";" in part else part for part in path.split("/"))
                into.setdefault((method, words), set()).update(body)
        for route in (("POST", "message/text"), ("POST", "message/query"), ("POST", "message/react"),
                      ("POST", "message/*/edit"), ("POST", "message/*/unsend"), ("POST", "chat/new"),
                      ("GET", "server/info")):
            assert route in kit and route in ours, (route, sorted(kit), sorted(ours))
            needed = kit[route] - {"chatGuid", "selectedMessageGuid"} if route[1] == "message/query" else kit[route]
            strange = ours[route] - kit[route] - {"method", "service", "after", "before", "where", "offset", "tempGuid"}
            assert not strange, (route, strange)
            loose = route[1] in ("message/text", "chat/new", "message/query")
            assert loose or needed <= ours[route], (route, needed, ours[route])
        mac.close()


def run_all(cases, run):
    cases.run("channels test is content", run.probed)
    cases.run("a text comes in by webhook", run.text_in)
    cases.run("a group stays a group", run.group)
    cases.run("an edit and a tapback are no messages", run.update_is_no_message)
    cases.run("a text goes out and climbs to read", run.text_out)
    cases.run("a chat with somebody new", run.somebody_new)
    cases.run("chats that are any;-; alone", run.any_only)
    cases.run("answers that are lost or wrong: sent once", run.lost_answers)
    cases.run("equal texts whose answers are lost", run.twins)
    cases.run("a doubled send would be noticed", run.control)
    cases.run("one send at a time", run.only_one_at_a_time)
    cases.run("refused by Apple", run.refused)
    cases.run("an unknown end is not tried again", run.unknown)
    cases.run("reactions, edits and unsending", run.acts)


def main():
    cases = Cases("bluebubbles peer:")
    mac = Mac()
    with Hub() as hub:
        run = Run(hub, mac, "bluebubbles")
        run.configure(base_url=mac.url, password=mac.secret)
        run.listening()
        run.register()
        run_all(cases, run)
        cases.run("without the private API", run.without_private_api)
        cases.run("answers in pieces", run.chunked)
        cases.run("files that come later", run.files_later)
        cases.run("a file goes out beside its text", run.files_out)
        cases.run("lost webhooks are caught up, once", run.dropped)
        cases.run("what came while the hub was away", run.away)
        cases.run("killed between the request and its answer", run.killed_while_sending)
        cases.run("a wrong password", run.wrong_password)
        cases.run("a published client speaks the same", run.dialect)
    mac.close()
    cases.exit()


if __name__ == "__main__":
    main()
