"""The hub against a server that speaks the Cloud API (npm @openclaw/crabline). It hands out what Meta would post; the
test signs that and posts it, as Meta does."""
import hashlib
import hmac
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))
from crabline import Crabline  # noqa: E402
from hub import Cases, Hub, until  # noqa: E402

SECRET, WORDS = "app_secret_123", "my own words"
THEIRS = "15550001"


class Peer(Crabline):
    """The Cloud API, in a process of its own."""

    def __init__(self):
        super().__init__("whatsapp", HERE)

    def says(self, text, identity):
        """Somebody writes: what Meta would post."""
        sender = THEIRS + "@s.whatsapp.net"
        body = {"chatJid": sender, "senderJid": sender, "text": text, "pushName": "Ann", "messageId": identity}
        return self.inject(body)["webhook"]

    def recorded(self, word):
        """The lines of the API calls that hold a word."""
        path = self.ready["recorderPath"]
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as file:
            return [line for line in file if word in line]


class Run:
    def __init__(self, hub, peer):
        self.hub, self.peer = hub, peer
        self.hook, self.sent = None, None

    def add(self):
        self.hub.post("/api/v1/egress", {"network": "127.0.0.1/32", "port": 0})
        added = self.hub.post("/api/v1/channels", {"kind": "whatsapp", "name": "whatsapp", "settings": {
            "phone_number_id": self.peer.ready["phoneNumberId"], "access_token": self.peer.ready["accessToken"],
            "app_secret": SECRET, "verify_token": WORDS, "base_url": self.peer.ready["baseUrl"],
            "graph_version": self.peer.ready["graphVersion"]}})
        self.hook = added["hook_path"]

    def post(self, body, path=None, secret=SECRET, signed=None):
        data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=True).encode()
        signature = hmac.new(secret.encode(), signed or data, hashlib.sha256).hexdigest()
        return self.hub.call("POST", path or self.hook, data, key=None,
                             headers={"X-Hub-Signature-256": "sha256=" + signature}).status

    def stored(self, text):
        found = self.hub.get("/api/v1/messages", channel="whatsapp", limit=200)["items"]
        return [m for m in found if m["text"] == text]

    def status(self, identity, status, **more):
        number = {"display_phone_number": "15550000000", "phone_number_id": self.peer.ready["phoneNumberId"]}
        value = {"messaging_product": "whatsapp", "metadata": number, "statuses": [
            {"id": identity, "status": status, "timestamp": "1795214856", "recipient_id": THEIRS, **more}]}
        assert self.post({"object": "whatsapp_business_account", "entry": [
            {"id": "TEST_WABA", "changes": [{"field": "messages", "value": value}]}]}) == 200

    def state(self, message, *wanted):
        return until(lambda: (m := self.hub.get(f"/api/v1/messages/{message}"))["state"] in wanted and m)

    def handshake(self):
        for path in (self.hook, "/webhooks/whatsapp"):
            query = "?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token="
            right = self.hub.call("GET", path + query + "my%20own%20words", key=None)
            assert right.status == 200 and right.body == b"1158201444", right
            assert self.hub.call("GET", path + query + "other", key=None).status in (403, 404)

    def received(self):
        text = "h\u00e9llo \U0001f44b / <b>"
        webhook = self.peer.says(text, "wamid.IN1")
        assert self.post(webhook) == 200 and self.post(webhook) == 200
        stored = self.stored(text)
        assert len(stored) == 1 and stored[0]["external_id"] == "wamid.IN1" and stored[0]["type"] == "whatsapp", stored
        assert "+" + THEIRS in stored[0].values(), stored

    def shared_path(self):
        assert self.post(self.peer.says("at the shared path", "wamid.IN2"), "/webhooks/whatsapp") == 200
        assert len(self.stored("at the shared path")) == 1

    def forged(self):
        webhook = self.peer.says("forged", "wamid.IN3")
        data = json.dumps(webhook).encode()
        assert self.post(webhook, secret="other") == 403
        assert self.post(data.replace(b"forged", b"forgot"), signed=data) == 403
        assert self.post(webhook, "/webhooks/whatsapp", secret="other") == 403
        assert not self.stored("forged") and not self.stored("forgot")

    def two_in_one(self):
        first, second = self.peer.says("first of two", "wamid.IN4"), self.peer.says("second of two", "wamid.IN5")
        first["entry"] += second["entry"]
        assert self.post(first) == 200
        assert len(self.stored("first of two")) == 1 and len(self.stored("second of two")) == 1

    def not_understood(self):
        assert self.post({"object": "whatsapp_business_account"}) == 200
        assert self.hub.sql("SELECT count(*) FROM parked")[0][0] == "1"

    def answered(self):
        conversation = self.stored("first of two")[0]["conversation_id"]
        sent = self.hub.post("/api/v1/messages/send", {"conversation": conversation, "text": "an answer"})
        stored = self.state(sent["id"], "sent")
        self.sent = sent["id"], stored["external_id"]
        calls = until(lambda: self.peer.recorded("an answer"))
        assert len(calls) == 1 and THEIRS in calls[0], calls

    def receipts(self):
        message, identity = self.sent
        self.status(identity, "read")
        self.state(message, "read")
        for late in ("delivered", "sent"):
            self.status(identity, late)
        assert self.hub.get(f"/api/v1/messages/{message}")["state"] == "read"

    def failed_later(self):
        conversation = self.stored("first of two")[0]["conversation_id"]
        sent = self.hub.post("/api/v1/messages/send", {"conversation": conversation, "text": "too late"})
        identity = self.state(sent["id"], "sent")["external_id"]
        self.status(identity, "failed", errors=[{"code": 131047, "title": "Re-engagement message"}])
        failed = self.state(sent["id"], "failed")
        assert failed["error_code"] == "131047" and "24 hours" in failed["error_hint"], failed

    def template(self):
        """This peer takes texts alone: what it says of a template is a refusal, told with the reason."""
        conversation = self.stored("first of two")[0]["conversation_id"]
        sent = self.hub.post("/api/v1/messages/send", {"conversation": conversation, "text": "Order 42 is ready",
                                                       "metadata": {"template": {"name": "order", "body": ["42"]}}})
        failed = self.state(sent["id"], "failed")
        assert failed["error_code"] == "100" and failed["error_hint"], failed

    def wrong_token(self):
        changed = self.hub.call("PATCH", "/api/v1/channels/whatsapp", {"settings": {"access_token": "wrong"}})
        assert changed.status == 200, changed
        sent = self.hub.post("/api/v1/messages/send", {"to": "+" + THEIRS, "text": "no", "channel": "whatsapp"})
        failed = self.state(sent["id"], "failed")
        assert failed["error_code"] == "190" and "access_token" in failed["error_hint"], failed


def main():
    cases = Cases("whatsapp peer:")
    with Peer() as peer, Hub() as hub:
        run = Run(hub, peer)
        run.add()
        cases.run("the handshake", run.handshake)
        cases.run("a text comes in once, however often it is posted", run.received)
        cases.run("a text comes in at the shared path", run.shared_path)
        cases.run("what is signed by others is refused", run.forged)
        cases.run("two entries in one post", run.two_in_one)
        cases.run("what is signed and not understood is kept", run.not_understood)
        cases.run("an answer goes out", run.answered)
        cases.run("receipts climb and never fall", run.receipts)
        cases.run("a failure that comes later is explained", run.failed_later)
        cases.run("a template that the peer refuses", run.template)
        cases.run("a wrong token", run.wrong_token)
    cases.exit()


if __name__ == "__main__":
    main()
