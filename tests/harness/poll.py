#!/usr/bin/env python3
"""A channel that is polled, against a Bot API that misbehaves: it resets connections before and in the middle of an
answer, answers late, with 502, or again with what was told before, and for a while with nothing though it has much.
It forgets what is asked for no more, as the real one does. The hub is killed in between. What was said to the bot is
stored once each. (That a silence is told within five minutes is tests/unit/core/silence_test.c, by the hub's clock.)

The control is a poller that acknowledges before it has stored, under the same kills: it must lose.

    poll.py [UPDATES] [KILLS]       default 120 and 2; 4000 and 40 with TEST_LONG"""
import http.client
import http.server
import json
import os
import random
import socket
import struct
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import hub as hubs

SEED, TOKEN = 25, "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
FAULTS = ("none", "none", "none", "none", "reset", "middle", "late", "502", "again")


def update(number):
    person = {"id": 1000 + number % 7, "is_bot": False, "first_name": "Ann"}
    return {"update_id": 5000 + number, "message": {
        "message_id": number + 1, "date": 1795214856, "chat": {"id": person["id"], "type": "private"}, "from": person,
        "text": f"said {number}"}}


class Bot(http.server.ThreadingHTTPServer):
    """The far side: what people said to the bot, until it is acknowledged."""
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), BotCall)
        self.lock, self.chance, self.said, self.acknowledged = threading.Lock(), random.Random(SEED), [], 0
        self.stalled, self.answers, self.faults, self.lap = False, 0, {}, []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        """A killed hub resets its connections."""

    def say(self):
        with self.lock:
            self.said.append(update(len(self.said)))

    def updates(self, offset, limit):
        """(fault, updates): what is there from `offset` on; everything before it is forgotten for ever."""
        with self.lock:
            self.acknowledged = max(self.acknowledged, offset - 5000)
            self.answers += 1
            if self.stalled or self.acknowledged == len(self.said):
                return "none", []
            self.lap = self.lap or self.chance.sample(FAULTS, len(FAULTS))
            fault = self.lap.pop()
            self.faults[fault] = self.faults.get(fault, 0) + 1
            first = max(0, self.acknowledged - 5) if fault == "again" else self.acknowledged
            return fault, self.said[first:][:limit]


class BotCall(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, cut=False):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:len(data) // 2] if cut else data)

    def reset(self):
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        if not self.path.endswith("/getUpdates"):
            self.answer(200, {"ok": True, "result": True})
            return
        fault, found = self.server.updates(asked.get("offset", 0), min(8, asked.get("limit", 100)))
        if not found:
            time.sleep(0.1)                     # the end of a long poll, soon
        if fault == "late":
            time.sleep(0.3)
        if fault == "reset":
            self.reset()
        elif fault == "502":
            self.answer(502, {"ok": False, "error_code": 502, "description": "Bad Gateway"})
        else:
            self.answer(200, {"ok": True, "result": found}, cut=fault == "middle" and found)
            if fault == "middle" and found:
                self.reset()


def judge(bot, stored):
    """(lost, doubled) of what was said."""
    texts = [each["message"]["text"] for each in bot.said]
    return [text for text in texts if text not in stored], [text for text in texts if stored.count(text) > 1]


def speak(bot, count, kill):
    """Say all of it, with a stall in the middle, and call `kill` whenever it is time."""
    for number in range(count):
        bot.say()
        if number == count // 2:
            bot.stalled = True
        if number == count * 3 // 4:
            bot.stalled = False
        kill(number)
        time.sleep(0.004)


def real(updates, kills):
    bot = Bot()
    with hubs.Hub() as hub:
        hub.post("/api/v1/egress", {"network": "127.0.0.1/32", "port": 0})
        hub.post("/api/v1/channels", {"kind": "telegram", "name": "bot", "settings": {
            "token": TOKEN, "base_url": bot.url}})

        def kill(number):
            if number % (updates // kills) == updates // kills // 2:
                seen = bot.answers
                hubs.until(lambda: bot.answers > seen + 1, 60)
                hub.kill()
                hub.start()
        speak(bot, updates, kill)
        hubs.until(lambda: bot.acknowledged == updates, 120, 0.1)
        stored = [row[0] for row in hub.sql("SELECT text FROM messages WHERE direction = 0")]
        lost, doubled = judge(bot, stored)
        print(f"{updates} updates, {kills} kills, {bot.answers} polls {bot.faults}: {len(lost)} lost, "
              f"{len(doubled)} doubled")
        assert not lost and not doubled and len(stored) == updates, (lost[:5], doubled[:5], len(stored))
        assert all(bot.faults.get(fault) for fault in FAULTS), bot.faults
    bot.shutdown()


class Hasty:
    """A poller that acknowledges what it got with the next question, while what it got is still on its way to the
    disk; a kill takes that away."""

    def __init__(self, bot):
        self.bot, self.stored, self.flying, self.offset, self.lives = bot, [], [], 0, 0

    def run(self, life):
        while self.lives == life:
            try:
                link = http.client.HTTPConnection(urllib.parse.urlsplit(self.bot.url).netloc, timeout=5)
                link.request("POST", f"/bot{TOKEN}/getUpdates", json.dumps({"offset": self.offset}).encode())
                found = json.loads(link.getresponse().read()).get("result", [])
            except (OSError, ValueError, http.client.HTTPException):
                continue
            if self.lives != life:
                return
            self.stored += self.flying
            self.flying = [each["message"]["text"] for each in found if each["update_id"] >= self.offset]
            self.offset = max([self.offset] + [each["update_id"] + 1 for each in found])

    def kill(self):
        self.lives += 1
        self.flying = []                        # its offset it has kept
        threading.Thread(target=self.run, args=(self.lives,), daemon=True).start()


def control():
    bot = Bot()
    hasty = Hasty(bot)
    hasty.kill()
    speak(bot, 200, lambda number: hasty.kill() if number % 20 == 10 else None)
    hubs.until(lambda: bot.acknowledged == 200, 30)
    time.sleep(0.5)
    hasty.lives += 1
    lost, _ = judge(bot, hasty.stored)
    bot.shutdown()
    assert lost, "nothing was lost: this harness proves nothing"
    print(f"control: {len(lost)} of 200 lost")


def main():
    long = os.environ.get("TEST_LONG")
    updates = int(sys.argv[1]) if len(sys.argv) > 1 else 4000 if long else 120
    kills = int(sys.argv[2]) if len(sys.argv) > 2 else 40 if long else 2
    cases = hubs.Cases("poll:")
    cases.run("control: who acknowledges before it has stored loses", control)
    cases.run(f"{updates} updates from a Bot API that drops, delays, repeats and stalls, {kills} kills: "
              "none lost, none doubled", real, updates, kills)
    cases.exit()


if __name__ == "__main__":
    main()
