#!/usr/bin/env python3
"""Sends whose outcome nobody knows: one in twenty is taken and the connection reset, taken and
answered with 502, taken and answered too late, or lost before it was taken; and the hub is killed in between.

Three providers keep a ledger of what they really took: one that knows a repeat by its key (android), one that lists
what it has and calls back with our token (twilio), and one that can do neither but for a status that may never come
(whatsapp): whatever it is silent about must be shown as unknown, and asked for only once. The controls are clients
that repeat, or drop, whatever was not answered with 2xx: the same judge must find doubles, and losses.

    unsure.py [SENDS] [KILLS]       default 600 and 2, shared by the providers; the minute before a look-up is then
                                    taken off the queue while the hub is down. With TEST_LONG it is waited for."""
import http.client
import json
import os
import random
import sqlite3
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import hub as hubs
from provider import TAKES, Android, Twilio, WhatsApp

SEED, MINUTE_MS, WORKERS = 20240622, 61000, 8
LONG = bool(os.environ.get("TEST_LONG"))
THERE = ("sent", "delivered", "read")


def plan(text, number):
    """One request in twenty goes wrong."""
    chance = random.Random(f"{SEED} {text} {number}")
    if chance.random() >= 0.05:
        return "take"
    return chance.choice(("take_reset", "take_reset", "take_5xx", "take_5xx", "drop", "drop", "fail_5xx", "late"))


def is_told_of(text):
    """Half of what was taken is told of by a callback."""
    return random.Random(f"{SEED} told {text}").random() < 0.5


def judge(provider, states):
    """What is wrong by the ledger: texts (lost, doubled), where `states` says what the sender believes of each."""
    lost = [text for text, state in states.items() if not provider.taken.get(text) and state != "unknown"]
    doubled = [text for text, times in provider.taken.items() if len(times) > 1]
    return lost, doubled


class Sends:
    """The texts of one provider and what became of them."""

    def __init__(self, hub, provider, count):
        self.hub, self.provider, self.texts, self.ids = hub, provider, [], {}
        self.texts = [f"{provider.kind} order {n} of {count}" for n in range(count)]
        self.contacts = max(20, count // 5)
        provider.wants_receipt = is_told_of
        provider.channel(hub, provider.kind)

    def accept(self):
        """Give all to the hub, each again until it is acknowledged."""
        connection = self.hub.connect()
        for number, text in enumerate(self.texts):
            body = {"channel": self.provider.kind, "to": f"+1415{2000000 + number % self.contacts:07d}", "text": text}
            while text not in self.ids:
                try:
                    answer = self.hub.call("POST", "/api/v1/messages/send", body, connection=connection,
                                           headers={"Idempotency-Key": text.replace(" ", "-")})
                except (OSError, http.client.HTTPException, AttributeError):
                    connection.close()
                    time.sleep(0.05)
                    connection = self.hub.connect()
                    continue
                assert answer.status in (200, 201, 202), answer
                self.ids[text] = answer.json["id"]
        connection.close()

    def states(self):
        names = {"2": "queued", "3": "sending"}
        found = {}
        for message in self.hub.pages("/api/v1/messages", channel=self.provider.kind, direction="out"):
            found[message["text"]] = names.get(message["state"], message["state"])
        return found

    def first_tries(self):
        with self.provider.lock:
            return len(self.provider.asked)


def jobs(hub):
    return int(hub.sql("SELECT count(*) FROM jobs WHERE kind = 1 AND state <> 3")[0][0])


def pass_a_minute(hub):
    """Kill the hub and take a minute off what waits: it cannot tell that from a minute that passed."""
    hub.kill()
    with sqlite3.connect(f"{hub.data}/hub.db", timeout=10) as database:
        database.execute("UPDATE jobs SET due_ms = due_ms - ?, rank_ms = rank_ms - ?", (MINUTE_MS, MINUTE_MS))
    database.close()
    hub.start(60)


def kill_at(hub, sends, shares):
    """Kill the hub when that share of all texts has been tried."""
    total = sum(len(one.texts) for one in sends)
    for share in shares:
        hubs.until(lambda at=share: sum(one.first_tries() for one in sends) >= total * at, 1200 if LONG else 60)
        hub.kill()
        hub.start(60)


def settle(hub, sends):
    """Until nothing waits any more."""
    end = time.monotonic() + (1200 if LONG else 60)
    while jobs(hub):
        assert time.monotonic() < end, f"{jobs(hub)} sends still wait\n{hub.log()[-2000:]}"
        if LONG:
            time.sleep(1)
            continue
        before = sum(sum(one.provider.asked.values()) for one in sends)
        time.sleep(0.7)
        if sum(sum(one.provider.asked.values()) for one in sends) == before:
            pass_a_minute(hub)
    time.sleep(1)               # callbacks that are on their way


def run(hub, sends, kills):
    threads = [threading.Thread(target=one.accept, daemon=True) for one in sends]
    for thread in threads:
        thread.start()
    kill_at(hub, sends, [(number + 1) / (kills + 1) for number in range(kills)])
    for thread in threads:
        thread.join(600)
    settle(hub, sends)


def check(one):
    """0 lost, 0 doubled; every state is true."""
    provider, states = one.provider, one.states()
    lost, doubled = judge(provider, {text: states.get(text, "absent") for text in one.texts})
    bad = [text for text in one.texts if any(fate != "take" for fate in provider.fates.get(text, ()))]
    unknown = [text for text in one.texts if states[text] == "unknown"]
    print(f"{provider.kind}: {len(one.texts)} sends, {sum(provider.asked.values())} requests, {len(bad)} ambiguous, "
          f"{len([t for t in bad if t in provider.told])} told of by a callback, {len(lost)} lost, "
          f"{len(doubled)} doubled, {len(unknown)} unknown", flush=True)
    assert len(bad) > len(one.texts) * 0.02, "too little went wrong: this proves nothing"
    assert not lost and not doubled, (lost[:5], doubled[:5])
    assert not [t for t in one.texts if states[t] in THERE and not provider.taken.get(t)]
    return states, bad, unknown


def with_key_or_list(one):
    states, _, unknown = check(one)
    assert not unknown, unknown[:5]
    assert all(states[text] in THERE for text in one.texts), {t: s for t, s in states.items() if s not in THERE}


def with_neither(one, kills):
    """Held: whatever was ambiguous is unknown unless a status told of it, and nothing was asked for twice."""
    states, bad, unknown = check(one)
    provider = one.provider
    assert all(count == 1 for count in provider.asked.values()), "repeated silently"
    assert all(states[text] in THERE or states[text] == "unknown" for text in one.texts), states
    for text in bad:
        assert states[text] == "unknown" or text in provider.told, (text, states[text], provider.fates[text])
    assert not [text for text in unknown if text in provider.told], "a status told of it, yet it is called unknown"
    silent = [text for text in unknown if text not in bad]
    assert len(silent) <= WORKERS * kills, silent            # under way when the hub was killed
    shown = list(one.hub.pages("/api/v1/messages", channel=provider.kind, state="unknown"))
    assert sorted(message["text"] for message in shown) == sorted(unknown) and unknown, (shown, unknown)
    assert all(message["error_hint"] for message in shown), shown


def bodies(provider, text):
    """What a client that knows no better sends: a new id each time."""
    if provider.kind == "android":
        return {"id": os.urandom(8).hex(), "phoneNumbers": ["+1"], "textMessage": {"text": text}}
    return {"to": "+1", "text": {"body": text}, "biz_opaque_callback_data": os.urandom(4).hex()}


def naive(kind, repeats):
    """The ledger after a client that repeats, or drops, whatever was not answered with 2xx."""
    provider, states = kind(plan, 0.5), {}
    at = urllib.parse.urlsplit(provider.url).netloc
    for text in [f"control order {n}" for n in range(300)]:
        states[text] = "failed"
        for _ in range(10 if repeats else 1):
            connection = http.client.HTTPConnection(at, timeout=0.3)
            try:
                connection.request("POST", "/messages", json.dumps(bodies(provider, text)).encode())
                if connection.getresponse().status // 100 == 2:
                    states[text] = "sent"
                    break
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()
    provider.close()
    return judge(provider, states)


def control():
    for kind in (Android, WhatsApp):
        lost, doubled = naive(kind, True)
        assert doubled and not lost, "nothing was doubled: this harness proves nothing"
        lost, _ = naive(kind, False)
        assert lost, "nothing was lost: this harness proves nothing"
        print(f"control, {kind.kind}: {len(doubled)} doubled by repeating, {len(lost)} lost by dropping")


def main():
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    kills = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    cases = hubs.Cases("unsure:")
    cases.run("control: doubles and losses are found", control)
    port = hubs.free_port()
    hub = hubs.Hub("--public-url", f"http://127.0.0.1:{port}")
    hub.port = port
    with hub:
        hub.post("/api/v1/egress", {"network": "127.0.0.1/32", "port": 0})
        sends = [Sends(hub, kind(plan, 40.0), total // 3 + (number < total % 3))
                 for number, kind in enumerate((Android, Twilio, WhatsApp))]
        began = time.monotonic()
        cases.run(f"{total} sends to three providers, one in twenty ambiguous, {kills} kills", run, hub, sends, kills)
        print(f"{time.monotonic() - began:.1f} s")
        cases.run("android, which knows a repeat: none lost, none doubled", with_key_or_list, sends[0])
        cases.run("twilio, which lists and calls back: none lost, none doubled", with_key_or_list, sends[1])
        cases.run("whatsapp, where a status may never come: all ambiguous are shown, none is repeated", with_neither,
                  sends[2], kills)
        for one in sends:
            one.provider.close()
    cases.exit()


if __name__ == "__main__":
    main()
