#!/usr/bin/env python3
"""A provider with a limit: so many a second by a token bucket, and 429 with Retry-After at random. All goes out within
110% of the least time that the rate and the pauses allow, nothing fails though one message is refused more often than
tries are counted, and nobody knocks while the provider is closed, but for what was under way.

The control is a client that ignores Retry-After: the same judge must find it over the limit.

    throttle.py [SENDS] [PER_SECOND]        default 240 and 40; 3000 with TEST_LONG"""
import http.client
import json
import os
import random
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import hub as hubs
from provider import Android

SEED, PAUSE_S, WORKERS, UNLUCKY, REFUSALS = 28, 1, 8, "order 11", 4


class Gate:
    """The provider's side: `plan` decides about each request. Times are of time.monotonic()."""

    def __init__(self, sends, per_second):
        self.rate, self.burst = per_second, per_second * 1.2
        chance = random.Random(SEED)
        self.refuse_after = sorted(chance.sample(range(per_second, sends - per_second), max(2, sends // 100)))
        self.tokens, self.refilled, self.closed_until, self.taken = self.burst, None, 0.0, 0
        self.began = self.ended = None
        self.pauses, self.knocks, self.over = [], 0, 0     # after how many taken; requests meanwhile

    def close(self, now):
        self.closed_until = now + PAUSE_S
        self.pauses.append(self.taken)
        return ("throttle", PAUSE_S)

    def plan(self, text, number):
        now = time.monotonic()
        self.began = self.began or now
        self.tokens = min(self.burst, self.tokens + (now - (self.refilled or now)) * self.rate)
        self.refilled = now
        if now < self.closed_until:
            self.knocks += 1
            return ("throttle", PAUSE_S)
        if text == UNLUCKY and number < REFUSALS or self.refuse_after and self.taken >= self.refuse_after[0]:
            if text != UNLUCKY:
                self.refuse_after.pop(0)
            return self.close(now)
        if self.tokens < 1:
            self.over += 1
            return self.close(now)
        self.tokens -= 1
        self.taken += 1
        self.ended = now
        return "take"

    def least_s(self, sends):
        """The time of a sender at most `rate` in any second, which is refused after as many as the real one was and
        goes on the moment that a pause ends."""
        times = []
        for number in range(sends):
            at = max(times[-1] if times else 0, times[number - self.rate] + 1 if number >= self.rate else 0)
            times.append(at + PAUSE_S * self.pauses.count(number))
        return times[-1]

    def faults(self):
        """Why the sender is over the limit, or nothing."""
        found = [f"{self.over} requests without a token"] if self.over else []
        if self.knocks > (WORKERS - 1) * len(self.pauses):
            found.append(f"{self.knocks} requests in {len(self.pauses)} pauses")
        return found


def obeys(hub, sends, per_second):
    gate = Gate(sends, per_second)
    phone = Android(gate.plan)
    phone.channel(hub, "phone")
    done = hub.call("PATCH", "/api/v1/channels/phone", {"per_second": per_second})
    assert done.status == 200, done
    connection = hub.connect()
    for number in range(sends):
        answer = hub.call("POST", "/api/v1/messages/send", {"channel": "phone", "to": f"+1415{2000000 + number % 60}",
                                                            "text": f"order {number}"}, connection=connection)
        assert answer.status in (200, 201, 202), answer
    connection.close()
    hubs.until(lambda: gate.taken == sends, sends / per_second * 3 + 30)
    took_s, least_s = gate.ended - gate.began, gate.least_s(sends)
    print(f"{sends} sends at {per_second} per second: {took_s:.2f} s, least {least_s:.2f} s ({took_s / least_s:.3f}), "
          f"{len(gate.pauses)} pauses, {gate.knocks} requests under way meanwhile, {gate.over} over the limit")
    assert not gate.faults(), gate.faults()
    assert took_s <= least_s * 1.10, (took_s, least_s)
    assert phone.asked[UNLUCKY] > REFUSALS, phone.asked[UNLUCKY]
    hubs.until(lambda: hub.sql("SELECT count(*) FROM jobs WHERE kind = 1") == [["0"]])
    states = [message["state"] for message in hub.pages("/api/v1/messages", channel="phone", direction="out")]
    assert len(states) == sends and set(states) <= {"sent", "delivered"}, set(states)
    assert all(len(times) == 1 for times in phone.taken.values()), "doubled"
    phone.close()


def control(sends, per_second):
    """Eight threads that try again at once, whatever the answer was."""
    gate = Gate(sends, per_second)
    phone, texts, lock = Android(gate.plan), [f"order {number}" for number in range(sends)], threading.Lock()
    at, end = urllib.parse.urlsplit(phone.url).netloc, time.monotonic() + 1.5

    def send():
        connection = http.client.HTTPConnection(at, timeout=5)
        while time.monotonic() < end:
            with lock:
                text = texts.pop() if texts else None
            if not text:
                break
            body = json.dumps({"id": text, "phoneNumbers": ["+1"], "textMessage": {"text": text}}).encode()
            status = 429
            while status == 429 and time.monotonic() < end:
                connection.request("POST", "/messages", body)
                answer = connection.getresponse()
                answer.read()
                status = answer.status
        connection.close()
    threads = [threading.Thread(target=send) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    phone.close()
    assert gate.faults(), "not over the limit: this harness proves nothing"
    print(f"control: {gate.faults()}")


def main():
    sends = int(sys.argv[1]) if len(sys.argv) > 1 else 3000 if os.environ.get("TEST_LONG") else 240
    per_second = int(sys.argv[2]) if len(sys.argv) > 2 else 40
    cases = hubs.Cases("throttle:")
    cases.run("control: who ignores Retry-After is over the limit", control, sends, per_second)
    with hubs.Hub() as hub:
        hub.post("/api/v1/egress", {"network": "127.0.0.1/32", "port": 0})
        cases.run(f"{sends} sends through a bucket with random 429 within 110% of the least time, none failed", obeys,
                  hub, sends, per_second)
    cases.exit()


if __name__ == "__main__":
    main()
