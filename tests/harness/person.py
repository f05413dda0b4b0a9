#!/usr/bin/env python3
"""One person on two channels: a conversation that begins on iMessage (a simulated Mac behind bluebubbles), is answered
by a rule and, as no receipt comes, goes on by text message (a simulated Twilio). The two contacts are linked and read
as one thread; the link is taken back, and every row is as it was.

The control links in the naive way, by moving the messages into one conversation: the comparison must see it."""
import os
import sqlite3
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "channels", "bluebubbles")]
import hub as hubs
from mac import Mac
from provider import Twilio

THEM, API = "+14155550199", "/api/v1"
ASKED, ANSWER = "What are your opening hours?", "We are open from 9 to 5."
NEWS, THANKS = "Your parcel is here.", "Thank you, I am coming."
HISTORY = ("messages", "message_sources", "message_revisions", "message_reactions", "message_tags", "attachments",
           "acts", "attempts", "fallbacks", "jobs", "conversations", "contacts", "identities", "decisions")


class Story:
    def __init__(self, hub, mac, sms):
        self.hub, self.mac, self.sms, self.first, self.second = hub, mac, sms, None, None

    def set_up(self):
        self.hub.post(API + "/egress", {"network": "127.0.0.1/32", "port": 0})
        self.hub.post(API + "/channels", {"kind": "bluebubbles", "name": "imessage", "settings": {
            "base_url": self.mac.url, "password": self.mac.secret}})
        done = self.hub.call("PATCH", API + "/channels/imessage", {
            "debounce_ms": 0, "per_second": 0, "per_hour": 0, "per_day": 0, "per_contact_hour": 0, "new_per_day": 0,
            "spacing_ms": 0, "warmup_days": 0})
        assert done.status == 200, done
        self.sms.channel(self.hub, "sms")
        self.hub.post(API + "/rules", {"name": "hours", "matches": {"contains": "opening hours"},
                                       "actions": {"answer": ANSWER}})
        self.mac.webhooks = [{"id": 1, "url": f"http://127.0.0.1:{self.hub.port}{done.json['hook_path']}",
                              "events": ["*"], "created": 0}]
        hubs.until(lambda: self.hub.sql("SELECT count(*) FROM channels WHERE cursor IS NOT NULL")[0][0] == "1", 15)

    def message(self, text, channel):
        found = [m for m in self.hub.get(API + "/messages", channel=channel, limit=50)["items"] if m["text"] == text]
        assert len(found) <= 1, found
        return found and found[0]

    def begins(self):
        self.mac.says(ASKED, who=THEM)
        self.first = hubs.until(lambda: self.message(ASKED, "imessage"))["contact_id"]
        hubs.until(lambda: self.mac.sent(ANSWER) == 1)
        answer = hubs.until(lambda: (m := self.message(ANSWER, "imessage")) and m["state"] == "sent" and m)
        assert answer["contact_id"] == self.first, answer

    def goes_on(self):
        sent = self.hub.post(API + "/messages/send", {"channel": "imessage", "to": THEM, "text": NEWS,
                                                      "fallback_channel": "sms", "fallback_after_s": 10})
        hubs.until(lambda: self.mac.sent(NEWS) == 1)
        assert not self.sms.taken, "it did not wait for the receipt"
        hubs.until(lambda: len(self.sms.taken.get(NEWS, ())) == 1, 20)
        other = hubs.until(lambda: (m := self.message(NEWS, "sms")) and m["state"] == "sent" and m)
        self.second = other["contact_id"]
        kinds = [[e.get("what") for e in self.hub.get(f"{API}/messages/{id}/timeline")["items"]]
                 for id in (sent["id"], other["id"])]
        assert "message.fell_back" in kinds[0] and "message.fallback_of" in kinds[1], kinds
        assert self.sms.hears(THANKS, THEM).status == 200
        assert hubs.until(lambda: self.message(THANKS, "sms"))["contact_id"] == self.second != self.first

    def thread(self, contact):
        return [(m["text"], m["channel_id"]) for m in self.hub.pages(f"{API}/contacts/{contact}/messages")][::-1]

    def history(self):
        hubs.until(lambda: self.hub.sql("SELECT count(*) FROM jobs WHERE state < 2") == [["0"]])
        return rows_of(f"{self.hub.data}/hub.db"), [self.hub.call("GET", API + path).body for path in (
            "/messages?limit=200", "/conversations", "/contacts", "/contacts/" + self.first,
            "/contacts/" + self.second)]

    def linked_and_not(self):
        before, apart = self.history(), (self.thread(self.first), self.thread(self.second))
        assert [len(thread) for thread in apart] == [3, 2], apart
        done = self.hub.cli("contacts", "link", self.first, self.second)
        assert done.returncode == 0, done
        assert self.history() != before, "the comparison does not see a link"
        whole = [(ASKED, "imessage"), (ANSWER, "imessage"), (NEWS, "imessage"), (NEWS, "sms"), (THANKS, "sms")]
        names = {c["id"]: c["name"] for c in self.hub.pages(API + "/channels")}
        for contact in (self.first, self.second):
            seen = [(text, names.get(channel, channel)) for text, channel in self.thread(contact)]
            assert seen == whole, seen
        shown = self.hub.cli("contacts", "messages", self.first)
        assert all(text in shown.stdout for text, _ in whole), shown
        done = self.hub.cli("contacts", "unlink", self.second)
        assert done.returncode == 0, done
        assert (self.thread(self.first), self.thread(self.second)) == apart
        after = self.history()
        assert after == before, [pair for pair in zip(*(sum(h[0].values(), []) for h in (before, after)))
                                 if pair[0] != pair[1]]
        rows = sum(len(each) for each in before[0].values())
        print(f"{rows} rows of {len(before[0])} tables and five lists are byte for byte what they were")

    def control(self):
        """Moved into one conversation and out again by the contact: their places are not what they were."""
        with tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, "hub.db")
            with sqlite3.connect(f"file:{self.hub.data}/hub.db?mode=ro", uri=True) as source, \
                    sqlite3.connect(copy) as target:
                source.backup(target)
            before = rows_of(copy)
            with sqlite3.connect(copy) as target:
                target.execute("UPDATE messages SET position = id, conversation_id = (SELECT min("
                               "conversation_id) FROM messages)")
                target.execute("UPDATE messages SET conversation_id = (SELECT c.id FROM conversations c WHERE "
                               "c.contact_id = messages.contact_id AND c.channel_id = messages.channel_id)")
            assert rows_of(copy) != before, "nothing was seen: this harness proves nothing"


def rows_of(path):
    """Every row of the history, as text with the type of each value."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10) as database:
        there = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert set(HISTORY) <= there, set(HISTORY) - there
        return {table: sorted(repr(row) for row in database.execute(f"SELECT * FROM {table}")) for table in HISTORY}


def main():
    cases = hubs.Cases("person:")
    mac, sms, port = Mac(), Twilio(lambda text, number: "take"), hubs.free_port()
    hub = hubs.Hub("--public-url", f"http://127.0.0.1:{port}")
    hub.port = port
    with hub:
        story = Story(hub, mac, sms)
        cases.run("a Mac and a number are there", story.set_up)
        cases.run("it begins on iMessage and is answered by a rule", story.begins)
        cases.run("without a receipt it goes on by text message", story.goes_on)
        cases.run("linked it is one thread, unlinked every row is as it was", story.linked_and_not)
        cases.run("control: a link that moves messages is seen", story.control)
    mac.close()
    sms.close()
    cases.exit()


if __name__ == "__main__":
    main()
