"""The hub as the private server of SMS Gateway for Android: a simulated phone that behaves as the app does
(registers, listens for pushes, pulls, knows a message by its id, reports states per recipient until it is
answered 2xx, posts signed webhooks, one "delivered" per SMS of a long text), with a ledger of what it really
sent. Its faults are seeded: answers that are lost, pulls that are repeated, failures, a hub that is killed."""
import hashlib
import hmac
import http.client
import json
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
from hub import Hub  # noqa: E402

TOKEN, SIGNING = "0123456789abcdef0123456789", "k3yABCDE"


class Phone:
    def __init__(self, hub, hook, seed=1):
        self.hub, self.base, self.hook = hub, f"/hooks/{hook}/mobile/v1", f"/hooks/{hook}"
        self.random = random.Random(seed)
        self.known, self.ledger, self.token, self.pushes, self.unsent, self.webhooks = {}, [], None, 0, [], []
        self.drop = 0.0                 # how often the answer to a report is lost
        self.fail_next = None           # the next SMS fails with this reason
        self.silent = False             # takes messages and never says what became of them
        self.stopping, self.lock = False, threading.Lock()

    def call(self, method, path, body=None, token=None, headers=None):
        sent = {"Authorization": f"Bearer {token or self.token}", "Content-Type": "application/json"}
        sent.update(headers or {})
        connection = http.client.HTTPConnection("127.0.0.1", self.hub.port, timeout=10)
        try:
            connection.request(method, path, None if body is None else json.dumps(body).encode(), sent)
            answer = connection.getresponse()
            data = answer.read()
            return answer.status, json.loads(data) if data and data[:1] in b"[{" else None
        finally:
            connection.close()

    def register(self, token=TOKEN):
        status, device = self.call("POST", self.base + "/device", {"name": "sim", "simCards": []}, token)
        if status == 201:
            self.token, self.id = device["token"], device["id"]
            status, self.webhooks = self.call("GET", self.base + "/webhooks")
            assert status == 200
        return 201 if self.webhooks is not None and status == 200 else status

    def listen(self):
        """The stream of events; a push makes the phone pull."""
        def run():
            while not self.stopping:
                connection = http.client.HTTPConnection("127.0.0.1", self.hub.port, timeout=3)
                try:
                    connection.request("GET", self.base + "/events", None, {"Authorization": f"Bearer {self.token}"})
                    answer = connection.getresponse()
                    while not self.stopping:
                        line = answer.readline()
                        if not line:
                            break
                        if line.startswith(b"event: MessageEnqueued"):
                            self.pushes += 1
                            self.round()
                except (OSError, http.client.HTTPException):
                    time.sleep(0.05)
                finally:
                    connection.close()
        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def stop(self):
        self.stopping = True
        self.thread.join(10)

    def round(self):
        """What the app does when it is woken: pull, send what it does not know, report."""
        with self.lock:
            return self.pull()

    def pull(self):
        try:
            status, messages = self.call("GET", self.base + "/message")
        except OSError:
            return None
        if status != 200:
            return status
        for message in messages:
            if message["id"] not in self.known:
                self.send(message)
        self.report()
        return len(messages)

    def send(self, message):
        state = "Failed" if self.fail_next else "Sent"
        self.known[message["id"]] = state
        if state == "Sent":
            for number in message["phoneNumbers"]:
                self.ledger.append((message["id"], number, message["textMessage"]["text"]))
        if self.silent:
            return
        recipients = [{"phoneNumber": number, "state": state} for number in message["phoneNumbers"]]
        if self.fail_next:
            recipients[0]["error"] = self.fail_next
            self.fail_next = None
        self.unsent.append({"id": message["id"], "state": "Processed",
                            "recipients": [dict(one, state="Processed") for one in recipients], "states": {}})
        self.unsent.append({"id": message["id"], "state": state, "recipients": recipients,
                            "states": {state: time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())}})

    def report(self):
        """Each report is repeated until it is answered 2xx; now and then its answer is lost."""
        for item in list(self.unsent):
            for _ in range(10):
                try:
                    status, _ = self.call("PATCH", self.base + "/message", [item])
                except OSError:
                    return
                if status == 204 and self.random.random() >= self.drop:
                    self.unsent.remove(item)
                    break

    def webhook(self, event, payload):
        body = json.dumps({"deviceId": self.id, "event": event, "id": f"ev{self.random.random()}", "payload": payload,
                           "webhookId": "w"}).encode()
        stamp = str(int(time.time()))
        mac = hmac.new(SIGNING.encode(), body + stamp.encode(), hashlib.sha256).hexdigest()
        connection = http.client.HTTPConnection("127.0.0.1", self.hub.port, timeout=10)
        connection.request("POST", self.hook, body, {"X-Signature": mac, "X-Timestamp": stamp})
        status = connection.getresponse().status
        connection.close()
        return status


def check(name, good, *shown):
    print(("ok " if good else "not ok ") + "channels/android: " + name, *([] if good else shown), flush=True)


def until(test, seconds=8):
    end = time.time() + seconds
    while time.time() < end:
        if test():
            return True
        time.sleep(0.03)
    return False


def state(hub, message):
    return hub.get(f"/api/v1/messages/{message}")["state"]


def send(hub, to, text):
    return hub.post("/api/v1/messages/send", {"channel": "phone", "to": to, "text": text})["id"]


def main():
    with Hub() as hub:
        channel = hub.post("/api/v1/channels", {"kind": "android", "name": "phone", "per_hour": 100000,
                                                "settings": {"server_token": TOKEN, "signing_key": SIGNING}})
        check("the channel says that it pulls", channel["pulls"] is True, channel)
        phone = Phone(hub, channel["hook"])
        check("a wrong private token is refused", phone.register("wrong-token-wrong") == 403)
        check("the phone registers", phone.register() == 201)
        check("the phone learns where to post", {one["event"] for one in phone.webhooks} >= {"sms:received", "sms:sent"}
              and all(channel["hook"] in one["url"] for one in phone.webhooks), phone.webhooks)
        check("a foreign token is answered 401", phone.call("GET", phone.base + "/message", token="x.y")[0] == 401)
        check("settings are an object", phone.call("GET", phone.base + "/settings") == (200, {}))

        first = send(hub, "+15550002", "hello")
        check("a pull sends it", phone.round() == 1 and until(lambda: state(hub, first) == "sent"), phone.ledger)
        check("it is settled", phone.round() == 0)

        phone.listen()
        second = send(hub, "+15550002", "pushed")
        check("a push wakes the phone", until(lambda: state(hub, second) == "sent") and phone.pushes > 0, phone.pushes)

        phone.webhook("sms:sent", {"messageId": phone.ledger[1][0], "sender": "+15550002", "partsCount": 2,
                                   "sentAt": "2026-11-20T10:00:00.000Z"})
        phone.webhook("sms:delivered", {"messageId": phone.ledger[1][0], "deliveredAt": "2026-11-20T10:00:01.000Z"})
        half = state(hub, second)
        phone.webhook("sms:delivered", {"messageId": phone.ledger[1][0], "deliveredAt": "2026-11-20T10:00:02.000Z"})
        check("delivered when both SMS are", half == "sent" and state(hub, second) == "delivered", half)

        phone.fail_next = "Send result: RESULT_ERROR_NO_SERVICE"
        failed = send(hub, "+15550003", "no service")
        check("a failure comes with its reason", until(lambda: state(hub, failed) == "failed") and
              "NO_SERVICE" in hub.get(f"/api/v1/messages/{failed}")["error_code"], phone.ledger)
        hub.post(f"/api/v1/outbox/{failed}/retry")
        check("retried it has another id and goes out", until(lambda: state(hub, failed) == "sent") and
              [text for _, _, text in phone.ledger].count("no service") == 1, phone.ledger)

        phone.drop = 0.4
        ids = [send(hub, f"+1555010{i % 10}", f"load {i}") for i in range(60)]
        time.sleep(0.2)
        hub.kill()
        hub.start()
        until(lambda: all(state(hub, one) in ("sent", "delivered") for one in ids) or (phone.round() and False), 25)
        counts = [[text for _, _, text in phone.ledger].count(f"load {i}") for i in range(60)]
        check("nothing is lost or doubled over lost answers and a killed hub", counts == [1] * 60 and
              all(state(hub, one) == "sent" for one in ids), counts, [state(hub, one) for one in ids])

        # The control: a phone that forgets what it knows doubles what it never reported.
        phone.drop, phone.silent = 0.0, True
        quiet = send(hub, "+15550009", "quiet")
        until(lambda: any(text == "quiet" for _, _, text in phone.ledger))
        phone.known.clear()
        phone.round()
        check("the ledger sees a double", [text for _, _, text in phone.ledger].count("quiet") == 2, phone.ledger[-3:])
        check("what is not reported stays open", state(hub, quiet) == "sending", state(hub, quiet))
        phone.stop()


if __name__ == "__main__":
    main()
