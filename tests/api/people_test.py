#!/usr/bin/env python3
"""people_test - people and what is done to their messages, over the API of a real hub: who said no, links and one
thread over channels, reactions, edits and deletions that go out, typing, receipts that come by hook."""
import time

import api
from api import API


def wait_for(read, wanted, seconds=20):
    """What `read` gives as soon as it is `wanted`, or at last."""
    end = time.monotonic() + seconds
    found = read()
    while found != wanted and time.monotonic() < end:
        time.sleep(0.05)
        found = read()
    return found


def message(hub, id):
    return hub.get(f"{API}/messages/{id}").json


def say(hub, to, text, channel="sandbox"):
    return hub.post(API + "/messages/send", {"to": to, "text": text, "channel": channel}).json["id"]


def hear(hub, who, text, channel="sandbox"):
    return hub.post(API + "/sandbox/say", {"as": who, "text": text, "channel": channel}).json["id"]


def acts(hub, id):
    return [e.get("detail") for e in hub.get(f"{API}/messages/{id}/timeline").json["items"]
            if e.get("what") == "message.act"]


def says_no(report, hub):
    contact = message(hub, hear(hub, "+15550100301", "hello"))["contact_id"]
    shown = lambda: hub.get(f"{API}/contacts/{contact}").json       # noqa: E731
    report.same("nobody says no at first", (shown()["opted_out_by"], shown()["opted_out_at"]), ("none", None))
    hear(hub, "+15550100301", "STOP")
    report.same("a word says no", wait_for(lambda: shown()["opted_out_by"], "word"), "word")
    report.check("since when and why", shown()["opted_out_at"] and shown()["opted_out_text"] == "STOP", shown())
    hub.call("PUT", f"{API}/contacts/{contact}/opt-out", {"reason": "by phone"})
    report.same("a person too", shown()["opted_out_by"], "word+person")
    report.same("and lifts it all", hub.call("DELETE", f"{API}/contacts/{contact}/opt-out").json["opted_out_by"],
                "none")
    hub.call("PATCH", API + "/channels/sandbox", {"help_text": "Call 555 0100."})
    hear(hub, "+15550100301", "HELP")
    texts = lambda: [m["text"] for m in hub.items(API + "/messages", q="Call 555")]     # noqa: E731
    report.same("the channel's answer to HELP", wait_for(texts, ["Call 555 0100."]), ["Call 555 0100."])


def links(report, hub):
    hub.post(API + "/channels", {"kind": "sandbox", "name": "second"})
    first = message(hub, hear(hub, "+15550100302", "one"))["contact_id"]
    second = message(hub, hear(hub, "+15550100302", "two", "second"))["contact_id"]
    shown = lambda id: hub.get(f"{API}/contacts/{id}").json         # noqa: E731
    report.same("the same number is suggested", shown(first)["maybe_same"], [second])
    listed = {c["id"]: c["maybe_same"] for c in hub.items(API + "/contacts")}
    report.same("in the list as well", listed[second], [first])
    before = [hub.get(f"{API}/messages", limit=200).body, shown(first), shown(second)]
    answer = hub.call("PUT", f"{API}/contacts/{first}/links/{second}")
    report.same("linked", (answer.status, bool(answer.json["person_id"])), (200, True))
    report.same("one person", shown(second)["person_id"], answer.json["person_id"])
    report.same("nothing is suggested any more", shown(first)["maybe_same"], [])
    report.same("found by the person", sorted(c["id"] for c in hub.items(API + "/contacts",
                                                                         person=answer.json["person_id"])),
                sorted([first, second]))
    thread = [m["text"] for m in hub.items(f"{API}/contacts/{second}/messages", limit=1)]
    report.same("one thread over both channels", thread, ["two", "one"])
    report.same("a stranger's is not found", hub.get(f"{API}/contacts/con_0000000000000/messages").status, 404)
    report.same("not with itself", hub.call("PUT", f"{API}/contacts/{first}/links/{first}").status, 409)
    report.same("unlinked", hub.call("DELETE", f"{API}/contacts/{second}/links").json["person_id"], None)
    report.same("everything is as it was", [hub.get(f"{API}/messages", limit=200).body, shown(first), shown(second)],
                before)


def goes_out(report, hub):
    heard = hear(hub, "+15550100303", "look at this")
    sent = say(hub, "+15550100303", "I see it")
    wait_for(lambda: message(hub, sent)["state"], "delivered")
    hub.call("PUT", f"{API}/messages/{heard}/reaction", {"emoji": "\U0001f44d"})
    reactions = lambda: [(r["actor"], r["emoji"]) for r in message(hub, heard)["reactions"]]    # noqa: E731
    report.same("a reaction", wait_for(reactions, [("hub", "\U0001f44d")]), [("hub", "\U0001f44d")])
    report.same("its way stands in the timeline", acts(hub, heard),
                ['{"act":"reaction","state":"queued"}', '{"act":"reaction","state":"sending"}',
                 '{"act":"reaction","state":"sent"}'])
    hub.call("DELETE", f"{API}/messages/{heard}/reaction")
    report.same("taken back", wait_for(reactions, []), [])
    answer = hub.call("PATCH", f"{API}/messages/{sent}", {"text": "I see it now"})
    report.same("an edit is taken", answer.status, 200)
    report.same("and made", wait_for(lambda: message(hub, sent)["text"], "I see it now"), "I see it now")
    hub.call("PATCH", f"{API}/messages/{sent}", {"text": "never #fail"})
    wait_for(lambda: '{"act":"edit","state":"failed"}' in acts(hub, sent), True)
    report.same("one that is refused changes nothing", message(hub, sent)["text"], "I see it now")
    hub.call("PATCH", f"{API}/messages/{sent}", {"text": "for us alone", "local": True})
    report.same("in the hub alone it is at once", message(hub, sent)["text"], "for us alone")
    hub.call("PUT", f"{API}/messages/{heard}/read")
    report.same("reading is told", wait_for(lambda: acts(hub, heard)[-1:], ['{"act":"read","state":"sent"}']),
                ['{"act":"read","state":"sent"}'])
    report.same("a deletion is taken", hub.call("DELETE", f"{API}/messages/{sent}").status, 204)
    report.check("and made", wait_for(lambda: "deleted_at" in message(hub, sent) and not message(hub, sent).get("text"),
                                      True))
    conversation = message(hub, heard)["conversation_id"]
    answer = hub.call("PUT", f"{API}/conversations/{conversation}/typing")
    report.same("typing is shown", (answer.status, answer.json), (200, {"shown": True}))
    answer = hub.call("PUT", f"{API}/conversations/cnv_0000000000000/typing")
    report.same("not in what is not there", answer.status, 404)
    kind = next(k for k in hub.items(API + "/channels/kinds") if k["kind"] == "sandbox")
    report.check("the kind says what it can", {"react", "edit", "delete", "read", "typing"} <= set(kind["can"]), kind)


def is_refused(report, hub):
    """A phone cannot change what it sent."""
    hub.post(API + "/channels", {"kind": "android", "name": "phone", "settings": {"base_url": "http://127.0.0.1:9"}})
    answer = hub.post(API + "/messages", {"from": "+15550100304", "text": "hi", "channel": "phone"})
    heard = answer.json["id"]
    answer = hub.call("PUT", f"{API}/messages/{heard}/reaction", {"emoji": "+1"})
    report.same("a reaction is refused", (answer.status, "cannot send reactions" in answer.json["detail"],
                                          bool(answer.json["hint"])), (409, True, True))
    report.same("reading stays here", hub.call("PUT", f"{API}/messages/{heard}/read").status, 200)
    report.same("and nothing goes out", acts(hub, heard), [])
    answer = hub.call("PUT", f"{API}/conversations/{message(hub, heard)['conversation_id']}/typing")
    report.same("typing is refused", answer.status, 409)
    report.same("an unknown message is 404", hub.call("PUT", f"{API}/messages/msg_0000000000000/reaction",
                                                      {"emoji": "+1"}).status, 404)


if __name__ == "__main__":
    api.Report("people").run([says_no, links, goes_out, is_refused])
