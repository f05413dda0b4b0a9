"""The webhook channel against signatures that the Standard Webhooks library makes (npm standardwebhooks), a provider
that signs its own way, and one that is sent to. Its ledger is what it really took."""
import base64
import hashlib
import hmac
import http.server
import json
import os
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))
from hub import Cases, Hub, until  # noqa: E402

KEY = "whsec_" + base64.b64encode(b"a key of twenty-four byt").decode()
SLACK = "slack-like-key"
TRICKY = "h\u00e9llo \U0001f44b \"x\" {to} \\ /"


class Oracle:
    def __init__(self):
        self.process = subprocess.Popen([os.path.join(ROOT, "tools", "node"), os.path.join(HERE, "oracle.cjs")],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(10)

    def sign(self, identity, seconds, body, secret=KEY):
        asked = {"secret": secret, "id": identity, "seconds": seconds, "body": body}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


class Provider(http.server.ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), ProviderCall)
        self.took = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1/messages"


class ProviderCall(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_HEAD(self):
        self.send_response(405 if self.headers["X-Api-Key"] == "k1" else 401)
        self.end_headers()

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["X-Api-Key"] != "k1":
            return self.answer(401, {"error": {"message": "who are you"}})
        if body["body"]["text"] == "refuse":
            return self.answer(422, {"error": {"message": "that number is unknown"}})
        self.server.took.append(body)
        if body["body"]["text"] == "lost":
            return self.connection.close()
        return self.answer(201, {"data": {"id": f"out-{len(self.server.took)}"}})


class Run:
    def __init__(self, hub, oracle, provider):
        self.hub, self.oracle, self.provider, self.hook = hub, oracle, provider, {}

    def add(self, name, **settings):
        answer = self.hub.post("/api/v1/channels", {"kind": "webhook", "name": name, "settings": settings})
        self.hook[name] = answer["hook_path"]

    def stored(self, text, channel="standard"):
        found = self.hub.get("/api/v1/messages", channel=channel, limit=200)["items"]
        return [m for m in found if m["text"] == text]

    def standard(self, text, identity="msg_1", age_s=0, spoil=None, body=None):
        """One delivery as the library signs it; returns the status."""
        seconds = int(time.time()) - age_s
        body = body or json.dumps({"type": "message", "data": {"from": "ann", "text": text, "id": identity}},
                                  ensure_ascii=False)
        headers = {"webhook-id": identity, "webhook-timestamp": str(seconds),
                   "webhook-signature": self.oracle.sign(identity, seconds, body)}
        headers.update(spoil or {})
        return self.hub.call("POST", self.hook["standard"], body.encode(), key=None, headers=headers).status

    def library(self):
        for _ in range(2):
            assert self.standard(TRICKY) == 200
        stored = self.stored(TRICKY)
        assert len(stored) == 1 and stored[0]["external_id"] == "msg_1", stored

    def forged(self):
        assert self.standard("forged", spoil={"webhook-signature": "v1,AAAA"}) == 403
        assert self.standard("forged", spoil={"webhook-id": "msg_2"}) == 403
        assert self.standard("forged", spoil={"webhook-timestamp": str(int(time.time()) + 1)}) == 403
        assert self.standard("forged", age_s=301) == 403
        assert self.standard("forged", age_s=-330) == 403
        assert not self.stored("forged")

    def parked(self):
        """Signed, but not understood: kept."""
        assert self.standard("", body='{"type":"message","data":{"text":"from nobody"}}') == 200
        assert self.hub.sql("SELECT count(*) FROM parked")[0][0] == "1"

    def receipts(self):
        self.add("sends", send_url=self.provider.url, auth_header="X-Api-Key", auth_value="k1",
                 answer_id_path="data.id", error_path="error.message", secret=SLACK, timestamp_header="X-Time",
                 signed_text="v0:{timestamp}:{body}", signature_prefix="v0=", status_path="state",
                 send_body={"recipient": "{to}", "body": {"text": "{text}", "quote": "{reply_to}"}})
        message = self.send(TRICKY)
        stored = self.state(message, "sent")
        assert self.provider.took[0] == {"recipient": "ann", "body": {"text": TRICKY}}, self.provider.took
        self.told(stored["external_id"], "delivered")
        self.state(message, "delivered")
        self.told(stored["external_id"], "sent")
        assert self.hub.get(f"/api/v1/messages/{message}")["state"] == "delivered"
        self.told(stored["external_id"], "read")
        self.state(message, "read")

    def told(self, identity, state):
        body = json.dumps({"id": identity, "state": state}).encode()
        seconds = str(int(time.time()))
        mac = hmac.new(SLACK.encode(), f"v0:{seconds}:".encode() + body, hashlib.sha256).hexdigest()
        headers = {"X-Time": seconds, "X-Signature": "v0=" + mac}
        assert self.hub.call("POST", self.hook["sends"], body, key=None, headers=headers).status == 200

    def send(self, text):
        return self.hub.post("/api/v1/messages/send", {"channel": "sends", "to": "ann", "text": text})["id"]

    def state(self, message, *wanted):
        return until(lambda: (m := self.hub.get(f"/api/v1/messages/{message}"))["state"] in wanted and m)

    def failures(self):
        failed = self.state(self.send("refuse"), "failed")
        assert "that number is unknown" in failed["error_hint"], failed
        assert self.state(self.send("lost"), "unknown")["error_hint"]
        assert [body["body"]["text"] for body in self.provider.took].count("lost") == 1

    def tested(self):
        report = self.hub.post("/api/v1/channels/sends/test")
        assert "status 405" in json.dumps(report), report
        self.hub.call("PATCH", "/api/v1/channels/sends", {"settings": {"auth_value": "k2"}})
        report = self.hub.post("/api/v1/channels/sends/test")
        assert "auth_value" in json.dumps(report), report


def main():
    cases = Cases("webhook peer:")
    provider = Provider()
    with Oracle() as oracle, Hub() as hub:
        hub.post("/api/v1/egress", {"network": "127.0.0.1/32", "port": 0})
        run = Run(hub, oracle, provider)
        run.add("standard", secret=KEY, signature="standard", kind_path="type", from_path="data.from",
                text_path="data.text", id_path="data.id")
        cases.run("what the library signs comes in once", run.library)
        cases.run("what it did not sign, or long ago, is refused", run.forged)
        cases.run("what is signed and not understood is kept", run.parked)
        cases.run("a text goes out, receipts climb and never fall", run.receipts)
        cases.run("failures", run.failures)
        cases.run("channels test", run.tested)
    provider.shutdown()
    cases.exit()


if __name__ == "__main__":
    main()
