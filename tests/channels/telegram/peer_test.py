"""The hub against a server that speaks the Bot API (npm @openclaw/crabline), by poll and by webhook; and against a
small stand-in for what that one cannot do: refusals, waits, lost answers."""
import http.server
import json
import os
import sys
import threading
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))
from crabline import Crabline  # noqa: E402
from hub import Cases, Hub, free_port, until  # noqa: E402

ANN, GROUP = 3527065, -1001234567890
TRICKY = "h\u00e9llo \U0001f44b\U0001f3fd / <b> & \"x\""
STUB_TOKEN = "77:stand-in_token"


class Peer(Crabline):
    """The Bot API, in a process of its own."""

    def __init__(self):
        super().__init__("telegram", HERE)

    def says(self, text, chat=ANN, sender=ANN, name="Ann"):
        body = {"chatId": chat, "senderId": sender, "senderName": name, "text": text}
        return self.inject(body)

    def call(self, method, **body):
        url = f"{self.ready['baseUrl']}/bot{self.ready['botToken']}/{method}"
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["result"]

    def recorded(self, method, word):
        """The recorded calls of a method that hold a word."""
        path = self.ready["recorderPath"]
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as file:
            lines = [line for line in file if method.lower() in line.lower()]
        return [line for line in lines if word in line or json.dumps(word)[1:-1] in line]


class Stub(http.server.ThreadingHTTPServer):
    """Answers sendMessage by what the text says; its ledger is what it really delivered."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), StubCall)
        self.delivered, self.slow, self.updates, self.offsets = [], [], [], []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        """The hub ends while a poll waits."""

    def happens(self, **update):
        self.updates.append({"update_id": 900 + len(self.updates), **update})

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class StubCall(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, status, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, code, words, **more):
        self.answer(code, {"ok": False, "error_code": code, "description": words, **more})

    def do_GET(self):
        self.refuse(401, "Unauthorized")

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method, stub = self.path.rsplit("/", 1)[1], self.server
        if not self.path.startswith("/bot" + STUB_TOKEN + "/"):
            return self.refuse(401, "Unauthorized")
        if method == "getUpdates":
            stub.offsets.append(body.get("offset", 0))
            found = [one for one in stub.updates if one["update_id"] >= body.get("offset", 0)]
            threading.Event().wait(0 if found else min(body["timeout"], 0.5))
            return self.answer(200, {"ok": True, "result": found})
        text = body["text"]
        if text == "blocked":
            return self.refuse(403, "Forbidden: bot was blocked by the user")
        if text == "slower" and text not in stub.slow:
            stub.slow.append(text)
            return self.refuse(429, "Too Many Requests: retry after 1", parameters={"retry_after": 1})
        if text == "page":
            return self.answer(502, b"<html>bad gateway</html>")
        if text == "nobody":
            return self.refuse(400, "Bad Request: chat not found")
        stub.delivered.append(text)
        if text == "lost":
            return self.connection.close()
        return self.answer(200, {"ok": True, "result": {"message_id": len(stub.delivered),
                                                        "chat": {"id": body["chat_id"]}, "date": 1}})


class Run:
    def __init__(self, hub, peer, stub):
        self.hub, self.peer, self.stub = hub, peer, stub
        self.hook = None

    def add(self, name, **settings):
        settings = {"token": self.peer.ready["botToken"], "base_url": self.peer.ready["baseUrl"], **settings}
        return self.hub.post("/api/v1/channels", {"kind": "telegram", "name": name, "settings": settings})

    def stored(self, text, channel="poll"):
        found = self.hub.get("/api/v1/messages", channel=channel, limit=200)["items"]
        return [m for m in found if m["text"] == text]

    def send(self, text, channel="poll", to=str(ANN), **more):
        return self.hub.post("/api/v1/messages/send", {"channel": channel, "to": to, "text": text, **more})["id"]

    def state(self, message, *wanted):
        return until(lambda: (m := self.hub.get(f"/api/v1/messages/{message}"))["state"] in wanted and m)

    def polled(self):
        self.peer.says(TRICKY)
        stored = until(lambda: self.stored(TRICKY))
        assert len(stored) == 1 and stored[0]["external_id"].startswith(f"{ANN}:"), stored
        assert stored[0]["type"] == "telegram", stored

    def started(self):
        """What a deep link hands over arrives as text."""
        self.peer.says("/start order-42")
        until(lambda: self.stored("/start order-42"))

    def answered(self):
        conversation = self.stored(TRICKY)[0]["conversation_id"]
        sent = self.hub.post("/api/v1/messages/send", {"conversation": conversation, "text": "an " + TRICKY})
        stored = self.state(sent["id"], "sent")
        assert stored["external_id"].startswith(f"{ANN}:"), stored
        assert len(until(lambda: self.peer.recorded("sendMessage", "an h"))) == 1

    def long_text(self):
        """5,000 characters of two UTF-16 units: more than one message takes."""
        text = "\U0001f44b" * 2500
        self.state(self.send(text), "sent")
        lines = [line for line in self.peer.recorded("sendMessage", "\U0001f44b" * 100)]
        assert len(lines) == 2, len(lines)

    def killed(self):
        """Nothing is lost and nothing comes twice when the hub dies while messages come in."""
        texts = [f"number {i}" for i in range(12)]
        for i, text in enumerate(texts):
            self.peer.says(text)
            if i in (3, 8):
                self.hub.kill()
                self.hub.start()
        until(lambda: all(self.stored(text) for text in texts), wait_s=15)
        assert all(len(self.stored(text)) == 1 for text in texts)

    def webhook_removed(self):
        """A webhook that another program set is in the way: the next start of the poll removes it."""
        self.hub.call("POST", "/api/v1/channels/poll/disable", {})
        self.peer.call("setWebhook", url=f"http://127.0.0.1:{free_port()}/elsewhere")
        assert self.peer.call("getWebhookInfo")["url"]
        self.peer.says("behind the webhook")
        self.hub.call("POST", "/api/v1/channels/poll/enable", {})
        until(lambda: self.stored("behind the webhook"), wait_s=15)
        assert not self.peer.call("getWebhookInfo")["url"]

    def tested(self):
        report = self.hub.post("/api/v1/channels/poll/test")
        assert "crabline_bot" in json.dumps(report), report

    def webhook(self):
        self.hub.call("POST", "/api/v1/channels/poll/disable", {})
        self.hook = self.add("hook", mode="webhook")["hook_path"]
        report = self.hub.post("/api/v1/channels/hook/test")
        assert "from now on" in json.dumps(report), report
        self.peer.says("by webhook")
        until(lambda: self.stored("by webhook", "hook"))
        report = self.hub.post("/api/v1/channels/hook/test")
        assert "posts to this channel" in json.dumps(report), report

    def forged(self):
        body = {"update_id": 1, "message": {"message_id": 99999, "from": {"id": 7}, "date": 1, "text": "forged",
                                            "chat": {"id": 7, "type": "private"}}}
        for headers in ({}, {"X-Telegram-Bot-Api-Secret-Token": "guess"}):
            assert self.hub.call("POST", self.hook, body, key=None, headers=headers).status == 403
        assert not self.stored("forged", "hook")

    def stub_sends(self):
        self.add("stub", token=STUB_TOKEN, base_url=self.stub.url)
        failed = self.state(self.send("blocked", "stub", "9"), "failed", "suppressed")
        assert failed["error_code"] == "403" and "blocked" in failed["error_hint"], failed
        failed = self.state(self.send("nobody", "stub", "10"), "failed")
        assert failed["error_code"] == "chat_not_found" and "Start" in failed["error_hint"], failed

    def member(self, status):
        chat = {"id": 21, "type": "private", "first_name": "Bob"}
        self.stub.happens(my_chat_member={"chat": chat, "from": {"id": 21}, "date": 1795214856,
                                          "new_chat_member": {"status": status}})

    def opted_out(self):
        """Who blocks the bot is left alone, until they let it in again."""
        chat = {"id": 21, "type": "private", "first_name": "Bob"}
        self.stub.happens(message={"message_id": 1, "from": {"id": 21, "first_name": "Bob"}, "chat": chat,
                                   "date": 1795214856, "text": "hello"})
        until(lambda: self.stored("hello", "stub"))
        self.member("kicked")
        until(lambda: self.stub.offsets[-1] == 902, wait_s=15)
        self.state(self.send("while blocked", "stub", "21"), "suppressed")
        self.member("member")
        until(lambda: self.stub.offsets[-1] == 903, wait_s=15)
        self.state(self.send("welcome back", "stub", "21"), "sent")
        assert "while blocked" not in self.stub.delivered

    def slower(self):
        self.state(self.send("slower", "stub", "11"), "sent")
        assert self.stub.delivered.count("slower") == 1 and self.stub.slow == ["slower"]

    def held(self):
        """It may have gone out: it is not sent again."""
        for text, to in (("lost", "12"), ("page", "13")):
            unsure = self.state(self.send(text, "stub", to), "unknown")
            assert unsure["error_hint"], unsure
        assert self.stub.delivered.count("lost") == 1

    def revoked(self):
        self.add("revoked", token="1:gone", base_url=self.stub.url)
        failed = self.state(self.send("x", "revoked", "9"), "failed")
        assert failed["error_code"] == "401" and "BotFather" in failed["error_hint"], failed
        answer = self.hub.call("POST", "/api/v1/channels/revoked/test", {})
        assert "BotFather" in answer.body.decode(), answer

    def unsaid(self):
        """No token stands in the log, nor in what the API tells."""
        said = self.hub.log() + json.dumps(list(self.hub.pages("/api/v1/channels")))
        for token in (self.peer.ready["botToken"], STUB_TOKEN):
            assert token not in said and token.split(":")[1] not in said


def main():
    cases = Cases("telegram peer:")
    hub, stub = Hub(), Stub()
    hub.port = free_port()
    hub.arguments += ["--public-url", f"http://127.0.0.1:{hub.port}"]
    with Peer() as peer, hub:
        hub.post("/api/v1/egress", {"network": "127.0.0.1/32", "port": 0})
        run = Run(hub, peer, stub)
        run.add("poll")
        cases.run("a text comes in by poll", run.polled)
        cases.run("a deep link", run.started)
        cases.run("an answer goes out", run.answered)
        cases.run("a long text goes out in parts", run.long_text)
        cases.run("killed twice, nothing lost, nothing twice", run.killed)
        cases.run("a webhook in the way is removed", run.webhook_removed)
        cases.run("channels test", run.tested)
        cases.run("in by webhook, with a secret", run.webhook)
        cases.run("forged webhooks are refused", run.forged)
        cases.run("refusals are told", run.stub_sends)
        cases.run("who blocks the bot is left alone", run.opted_out)
        cases.run("429 waits", run.slower)
        cases.run("a lost answer is held", run.held)
        cases.run("a revoked token", run.revoked)
        cases.run("no token is said", run.unsaid)
    stub.shutdown()
    cases.exit()


if __name__ == "__main__":
    main()
