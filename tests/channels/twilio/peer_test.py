"""The hub against a server that speaks Twilio's API and signs its webhooks, and against signatures that Twilio's own
library makes. Both come from npm (package.json)."""
import base64
import http.server
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))
from hub import Cases, Hub, free_port, until  # noqa: E402

ACCOUNT, TOKEN = "AC00000000000000000000000000000001", "0123456789abcdef0123456789abcdef"
OURS, SECOND, THEIRS = "+15551230002", "+15551230003", "+14133881111"
NODE = os.path.join(ROOT, "tools", "node")
SEED = """twilio:
  account:
    sid: {account}
    auth_token: {token}
  phone_numbers:
    - phone_number: "{ours}"
      sms_url: {hub}/webhooks/sms
    - phone_number: "{second}"
      sms_url: {hub}/nowhere
"""


class Peer:
    """The emulated Twilio, in a process of its own."""

    def __init__(self, hub_url):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.seed = tempfile.NamedTemporaryFile("w", suffix=".yaml", delete=False)
        self.seed.write(SEED.format(account=ACCOUNT, token=TOKEN, ours=OURS, second=SECOND, hub=hub_url))
        self.seed.close()
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(
            [NODE, os.path.join(HERE, "node_modules/emulate/dist/index.js"), "--service", "twilio", "--port",
             str(self.port), "--seed", self.seed.name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=HERE)
        until(self.answers, wait_s=20, every_s=0.1)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(10)
        os.unlink(self.seed.name)

    def answers(self):
        assert self.process.poll() is None, "the peer ended"
        try:
            return self.call("GET", f"/2010-04-01/Accounts/{ACCOUNT}.json")
        except OSError:
            return None

    def call(self, method, path, **form):
        body = urllib.parse.urlencode(form).encode() if form else None
        request = urllib.request.Request(self.url + path, body, method=method)
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def messages(self, **query):
        path = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json?" + urllib.parse.urlencode(query)
        return self.call("GET", path)["messages"]

    def says(self, text, to=OURS):
        return self.call("POST", "/_twilio/simulate/inbound-message", To=to, From=THEIRS, Body=text)

    def status(self, sid, status):
        return self.call("POST", "/_twilio/simulate/message-status", MessageSid=sid, Status=status)


class Line:
    """What stands between the hub and the peer; `cut` answers of what is posted are lost on the way back."""

    def __init__(self, peer):
        line, self.cut = self, 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
                request = urllib.request.Request(peer.url + self.path, body, method=self.command)
                for name in ("Authorization", "Content-Type"):
                    if self.headers.get(name):
                        request.add_header(name, self.headers[name])
                with urllib.request.urlopen(request, timeout=10) as answer:
                    data, status = answer.read(), answer.status
                if self.command == "POST" and line.cut:
                    line.cut -= 1
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_GET

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Run:
    """The hub and the peer, which know each other's address."""

    def __init__(self, hub, peer):
        self.hub, self.peer = hub, peer
        self.hook = None

    def stored(self, channel, text):
        return [m for m in self.hub.get("/api/v1/messages", channel=channel, limit=200)["items"] if m["text"] == text]

    def send(self, text, to=THEIRS, **more):
        sent = self.hub.post("/api/v1/messages/send", {"to": to, "text": text, "channel": "twilio", **more})
        return sent["id"]

    def state(self, message, *wanted):
        return until(lambda: (m := self.hub.get(f"/api/v1/messages/{message}"))["state"] in wanted and m)

    def configured(self):
        channel = self.hub.get("/api/v1/channels/twilio")
        assert channel["kind"] == "twilio" and channel["settings"]["from"] == OURS, channel
        assert TOKEN not in json.dumps(channel) and "auth_token" in channel["secrets"], channel
        changed = self.hub.call("PATCH", "/api/v1/channels/twilio", {"settings": {"base_url": self.peer.url},
                                                                     "per_second": 0})
        assert changed.status == 200, changed
        self.hook = channel["hook_path"]
        self.hub.post("/api/v1/egress", {"network": "127.0.0.1/32", "port": 0})

    def restarted(self):
        before = self.hub.get("/api/v1/channels/twilio")
        self.hub.stop()
        self.hub.env["TWILIO_PHONE_NUMBER"] = SECOND
        self.hub.start()
        changed = self.hub.get("/api/v1/channels/twilio")
        assert changed["settings"]["from"] == SECOND and changed["id"] == before["id"], changed
        assert changed["settings"]["base_url"] == self.peer.url and changed["hook_path"] == before["hook_path"], changed
        self.hub.stop()
        self.hub.env["TWILIO_PHONE_NUMBER"] = OURS
        self.hub.start()
        assert len([c for c in self.hub.get("/api/v1/channels")["items"] if c["kind"] == "twilio"]) == 1

    def probed(self):
        report = self.hub.post("/api/v1/channels/twilio/test")
        assert report["summary"] == "The account works.", report

    def shared_path(self):
        text = "h\u00e9llo \U0001f44b & 50% a=b+c"
        self.peer.says(text)
        stored = self.stored("twilio", text)
        assert len(stored) == 1 and stored[0]["direction"] == "in" and THEIRS in stored[0].values(), stored

    def own_path(self):
        numbers = self.peer.call("GET", f"/2010-04-01/Accounts/{ACCOUNT}/IncomingPhoneNumbers.json")
        sid = [n["sid"] for n in numbers["incoming_phone_numbers"] if n["phone_number"] == SECOND][0]
        added = self.hub.post("/api/v1/channels", {"kind": "twilio", "name": "second", "settings": {
            "account_sid": ACCOUNT, "auth_token": TOKEN, "from": SECOND, "base_url": self.peer.url}})
        self.peer.call("POST", f"/2010-04-01/Accounts/{ACCOUNT}/IncomingPhoneNumbers/{sid}.json",
                       SmsUrl=f"http://127.0.0.1:{self.hub.port}{added['hook_path']}")
        self.peer.says("for the second", to=SECOND)
        assert len(self.stored("second", "for the second")) == 1 and not self.stored("twilio", "for the second")
        self.peer.says("for the first")
        assert len(self.stored("twilio", "for the first")) == 1 and not self.stored("second", "for the first")

    def delivered(self):
        message = self.send("to be delivered")
        stored = self.state(message, "sent")
        sent = [m for m in self.peer.messages(To=THEIRS) if m["body"] == "to be delivered"]
        assert len(sent) == 1 and sent[0]["from"] == OURS and stored["external_id"] == sent[0]["sid"], (sent, stored)
        self.peer.status(sent[0]["sid"], "delivered")
        self.state(message, "delivered")
        self.peer.status(sent[0]["sid"], "sent")
        self.peer.status(sent[0]["sid"], "queued")
        assert self.hub.get(f"/api/v1/messages/{message}")["state"] == "delivered"
        self.peer.status(sent[0]["sid"], "read")
        self.state(message, "read")

    def undelivered(self):
        message = self.send("to be refused by the carrier")
        sid = self.state(message, "sent")["external_id"]
        self.peer.status(sid, "undelivered")
        failed = self.state(message, "failed")
        assert failed["error_hint"], failed

    def refused(self):
        message = self.send("to nobody", to="12345")
        failed = self.state(message, "failed")
        assert failed["error_code"] == "21201" and failed["error_hint"], failed

    def lost_answers(self):
        """What Twilio has taken is sent, though its answer never came; equal texts are left to a person."""
        line = Line(self.peer)
        at_peer = lambda text: [m for m in self.peer.messages(To=THEIRS) if m["body"] == text]  # noqa: E731
        set_url = lambda url: self.hub.call("PATCH", "/api/v1/channels/twilio", {  # noqa: E731
            "settings": {"base_url": url}}).status
        assert set_url(line.url) == 200
        line.cut = 1
        stored = self.state(self.send("its answer is lost"), "sent")
        assert [m["sid"] for m in at_peer("its answer is lost")] == [stored["external_id"]] and not line.cut
        first = self.state(self.send("twins"), "sent")
        line.cut = 1
        second = self.state(self.send("twins"), "unknown", "sent")
        assert len(at_peer("twins")) == 2 and not line.cut
        assert second["external_id"] != first["external_id"], (first, second)
        assert set_url(self.peer.url) == 200

    def wrong_token(self):
        def set_token(token):
            done = self.hub.call("PATCH", "/api/v1/channels/twilio", {"settings": {"auth_token": token}})
            assert done.status == 200, done
        set_token("f" * 32)
        self.peer.says("signed by another")
        assert not self.stored("twilio", "signed by another")
        report = self.hub.call("POST", "/api/v1/channels/twilio/test", {})
        assert "auth_token" in report.body.decode(), report
        failed = self.state(self.send("with a wrong token"), "failed")
        assert failed["error_code"] == "20003" and "auth_token" in failed["error_hint"], failed
        set_token(TOKEN)
        self.peer.says("signed by the right one")
        assert len(self.stored("twilio", "signed by the right one")) == 1

    def hub_url(self, path, query):
        return f"http://127.0.0.1:{self.hub.port}{path}" + ("?" + query if query else "")

    def post(self, url, params, signature):
        request = urllib.request.Request(url, urllib.parse.urlencode(params).encode(), {
            "X-Twilio-Signature": signature, "Content-Type": "application/x-www-form-urlencoded"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def oracle(self):
        chance = random.Random(20240622)
        letters = "abcXYZ019_.-~ +&=%?#/'\"<>\u00e9\u4f60\U0001f44b\n"
        word = lambda most: "".join(chance.choice(letters) for _ in range(chance.randrange(most)))  # noqa: E731
        asked = []
        for number in range(60):
            params = {"AccountSid": ACCOUNT, "MessageSid": f"SM{number:032x}", "From": THEIRS, "To": OURS,
                      "Body": word(60), "NumMedia": "0"}
            for _ in range(chance.randrange(8)):
                params["X" + "".join(chance.choice("aAbB_19") for _ in range(5))] = word(20)
            query = urllib.parse.urlencode({word(6) or "q": word(12)}, quote_via=urllib.parse.quote)
            path = chance.choice(["/webhooks/sms", self.hook, self.hook + "/in/" + str(number)])
            asked.append((self.hub_url(path, chance.choice(["", query])), params))
        lines = "".join(json.dumps({"token": TOKEN, "url": u, "params": p}) + "\n" for u, p in asked)
        made = subprocess.run([NODE, os.path.join(HERE, "oracle.cjs")], input=lines, capture_output=True, text=True,
                              timeout=20, check=True).stdout.split()
        assert len(made) == len(asked)
        before = int(self.hub.sql("SELECT count(*) FROM messages")[0][0])
        for (url, params), signature in zip(asked, made):
            assert self.post(url, params, signature) == (200, '<?xml version="1.0" encoding="UTF-8"?><Response/>')
        assert int(self.hub.sql("SELECT count(*) FROM messages")[0][0]) == before + len(asked)
        for url, params in asked[:2]:       # the signatures of others
            assert self.post(url, params, made[-1])[0] == 403
        assert self.post(asked[5][0], {**asked[5][1], "New": "1"}, made[5])[0] == 403
        assert int(self.hub.sql("SELECT count(*) FROM messages")[0][0]) == before + len(asked)

    def unknown_account(self):
        params = {"AccountSid": "AC9", "MessageSid": "SM1", "From": THEIRS, "To": OURS, "Body": "x"}
        assert self.post(self.hub_url("/webhooks/sms", ""), params, "x")[0] == 404
        assert self.post(self.hub_url("/webhooks/telex", ""), params, "x")[0] == 404
        rows = self.hub.sql("SELECT count(*) FROM messages")
        assert self.post(self.hub_url("/webhooks/sms", ""), {**params, "AccountSid": ACCOUNT}, "x")[0] == 403
        assert self.hub.sql("SELECT count(*) FROM messages") == rows

    def same_account_elsewhere(self):
        """Whoever claims another's account cannot take its messages: the signature decides."""
        tenant = self.hub.post("/api/v1/channels", {"kind": "twilio", "name": "thief", "settings": {
            "account_sid": ACCOUNT, "auth_token": "e" * 32, "from": OURS}})
        try:
            self.peer.says("for the owner")
            assert len(self.stored("twilio", "for the owner")) == 1 and not self.stored("thief", "for the owner")
        finally:
            self.hub.post(f"/api/v1/channels/{tenant['id']}/disable")


def main():
    cases = Cases("twilio peer:")
    port = free_port()
    hub = Hub("--public-url", f"http://127.0.0.1:{port}", env={
        "TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": TOKEN, "TWILIO_PHONE_NUMBER": OURS})
    hub.port = port
    with hub, Peer(f"http://127.0.0.1:{port}") as peer:
        run = Run(hub, peer)
        cases.run("the environment makes a channel", run.configured)
        cases.run("the environment changes what it names and nothing else", run.restarted)
        cases.run("channels test finds the number and its webhook", run.probed)
        cases.run("a text comes in at the shared path", run.shared_path)
        cases.run("texts for two numbers reach two channels", run.own_path)
        cases.run("a text goes out and climbs to read, never down", run.delivered)
        cases.run("an undelivered text fails with a hint", run.undelivered)
        cases.run("a number that is none is refused", run.refused)
        cases.run("sixty requests that Twilio's library signed", run.oracle)
        cases.run("an unknown account, an unknown path, a wrong signature", run.unknown_account)
        cases.run("another channel that claims the same number", run.same_account_elsewhere)
        cases.run("an answer that is lost on the way", run.lost_answers)
        cases.run("a wrong token", run.wrong_token)
    cases.exit()


if __name__ == "__main__":
    main()
