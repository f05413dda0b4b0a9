#!/usr/bin/env python3
"""messages_test - every operation on messages, conversations, contacts, the outbox, sync and the sandbox, as a client
uses them: duplicates, repeated requests, batches, races, tombstones."""
import glob
import os
import tempfile
import threading
import time
import urllib.parse

from api import API, Hub, Report, wait_for


def receive(hub, sender, text, **more):
    return hub.post(API + "/messages", {"from": sender, "text": text, "channel": "sandbox", **more})


def send(hub, to, text, **more):
    return hub.post(API + "/messages/send", {"to": to, "text": text, "channel": "sandbox", **more})


def message(hub, id):
    return hub.get(f"{API}/messages/{id}").json


def wait_state(hub, id, *states):
    """The state that the message reached, waited for; or the one it stays in."""
    wait_for(lambda: message(hub, id)["state"] in states)
    return message(hub, id)["state"]


# --- Receiving ---

def receives(report, hub):
    answer = receive(hub, "+1 (555) 010-0201", "hello", id="r-1", sent_at="2026-11-20T18:42:26+01:00", name="Ada",
                     metadata={"sim": 1, "deep": {"a": [1, 2]}}, type="mms", priority="urgent")
    report.same("receive answers 201", answer.status, 201)
    report.same("receive names the state", (answer.json["state"], answer.json["duplicate"]), ("received", False))
    stored = message(hub, answer.json["id"])
    report.same("the message is as it was given",
                [stored[name] for name in ("from", "text", "external_id", "type", "priority", "direction", "origin",
                                           "offset_min", "provider_at")],
                ["+15550100201", "hello", "r-1", "mms", "urgent", "in", "contact", 60, "2026-11-20T17:42:26.000Z"])
    report.same("unknown metadata survives", stored["metadata"], {"sim": 1, "deep": {"a": [1, 2]}})
    contact = hub.get(f"{API}/contacts/{stored['contact_id']}").json
    report.same("its contact is known by name", (contact["name"], contact["address"]), ("Ada", "+15550100201"))


def decides(report, hub):
    id = receive(hub, "+15550100223", "who decides this?").json["id"]
    report.same("a message is decided on", wait_state(hub, id, "processed"), "processed")
    steps = hub.get(f"{API}/messages/{id}/timeline").json["items"]
    decisions = [step for step in steps if step["kind"] == "decision"]
    report.check("its timeline has the decision and its reason", len(decisions) == 1 and decisions[0]["detail"] and
                 decisions[0]["id"].startswith("dec_"), steps)
    states = [step["what"] for step in steps if step["kind"] == "event"]
    report.same("and its states in order", (states[0], states[-1]), ("message.received", "message.processed"))
    old = receive(hub, "+15550100223", "old", history=True).json
    group = receive(hub, "+15550100223", "all", group="family").json
    report.same("backfill and groups are not", [(m["state"], message(hub, m["id"])["state"]) for m in (old, group)],
                [("processed", "processed")] * 2)


def recognises_duplicates(report, hub):
    first = receive(hub, "+15550100202", "once", id="d-1")
    again = receive(hub, "+15550100202", "once", id="d-1")
    report.same("a duplicate is 200", again.status, 200)
    report.same("with the first id", (again.json["id"], again.json["duplicate"]), (first.json["id"], True))
    report.same("and the first time to the millisecond", again.json["received_at"],
                message(hub, first.json["id"])["received_at"])
    at = "2026-11-20T10:00:00.100Z"
    first = receive(hub, "+15550100202", "no id", sent_at=at)
    again = receive(hub, "+1 555 0100202", "no id", sent_at="2026-11-20T10:00:00.900Z")
    report.same("without an id: same sender, text and second", (again.status, again.json["id"]),
                (200, first.json["id"]))
    other = receive(hub, "+15550100202", "no id", sent_at="2026-11-20T10:00:01Z")
    report.same("another second is another message", other.status, 201)


def repeats_requests(report, hub):
    head = {"Idempotency-Key": "key-1"}
    body = {"from": "+15550100203", "text": "keyed", "channel": "sandbox"}
    first = hub.post(API + "/messages", body, headers=head)
    again = hub.post(API + "/messages", body, headers=head)
    report.same("a repeated request repeats the answer", (again.status, again.body), (first.status, first.body))
    report.same("and says so", again.headers.get("idempotent-replayed"), "true")
    other = hub.post(API + "/messages", {**body, "text": "another"}, headers=head)
    report.same("another body under the key is 422", (other.status, other.json["code"]),
                (422, "idempotency_key_reused"))
    head = {"Idempotency-Key": "key-2"}
    known = receive(hub, "+15550100203", "known", id="k-1")
    body = {"from": "+15550100203", "text": "known", "channel": "sandbox", "id": "k-1"}
    first = hub.post(API + "/messages", body, headers=head)
    again = hub.post(API + "/messages", body, headers=head)
    report.same("a duplicate under a key stays a duplicate", [(a.status, a.json["id"]) for a in (first, again)],
                [(200, known.json["id"])] * 2)
    head = {"Idempotency-Key": "key-3"}
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(
        hub.post(API + "/messages/send", {"to": "+15550100203", "text": "twins", "channel": "sandbox"}, headers=head)))
        for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    good = [a.json["id"] for a in answers if a.status == 202]
    report.check("eight twins of one request send once", good and len(set(good)) == 1 and
                 all(a.status in (202, 409) for a in answers), answers)


def receives_batches(report, hub):
    batch = [{"from": "+15550100204", "text": f"b{i}", "id": f"b-{i}"} for i in range(1000)]
    answer = hub.post(API + "/messages/batch", {"messages": batch, "channel": "sandbox"})
    report.same("a batch of 1,000", (answer.status, answer.json and answer.json["stored"]), (200, 1000))
    report.same("in order", [item["index"] for item in answer.json["items"]], list(range(1000)))
    mixed = [{"from": "+15550100204", "text": "b0", "id": "b-0"}, {"from": "", "text": "nobody"},
             {"from": "+15550100204", "text": "x", "type": "pigeon"},
             {"from": "+15550100204", "text": "new", "id": "b-n"}, {"from": "+15550100204", "text": "new", "id": "b-n"}]
    answer = hub.post(API + "/messages/batch", {"messages": mixed, "channel": "sandbox"}).json
    report.same("each message has its own result", [item["outcome"] for item in answer["items"]],
                ["duplicate", "refused", "refused", "stored", "duplicate"])
    report.same("what is wrong is named", [item["field"] for item in answer["items"][1:3]], ["from", "type"])
    report.check("and what is allowed", "whatsapp" in answer["items"][2]["hint"], answer["items"][2])
    listed = hub.items(API + "/messages", q="b", limit=500, direction="in", since="2020-01-01T00:00:00Z")
    wanted = {b["id"] for b in batch}
    report.same("all are there, each once", len({m["id"] for m in listed if m["external_id"] in wanted}), 1000)
    too_many = hub.post(API + "/messages/batch", {"messages": batch + batch[:1], "channel": "sandbox"})
    report.same("1,001 are refused", too_many.status, 422)
    head = {"Idempotency-Key": "batch-1"}
    body = {"messages": [{"from": "+15550100204", "text": "keyed"}], "channel": "sandbox"}
    first, again = (hub.post(API + "/messages/batch", body, headers=head) for _ in range(2))
    report.same("a repeated batch repeats its answer", again.body, first.body)


# --- Lists and one message ---

def filters_lists(report, hub):
    ids = {}
    for text, more in (("filter apple", {"type": "sms"}), ("filter pear", {"type": "email"}),
                       ("filter 100% plum", {"type": "sms"})):
        ids[text] = receive(hub, "+15550100205", text, **more).json["id"]
    out = send(hub, "+15550100205", "filter out").json["id"]
    one = message(hub, ids["filter apple"])
    hub.call("PUT", f"{API}/messages/{ids['filter apple']}/tags/fruit")

    def found(**query):
        return [m["id"] for m in hub.items(API + "/messages", contact=one["contact_id"], **query)]

    report.same("newest first", found(), [out] + [ids[t] for t in ("filter 100% plum", "filter pear", "filter apple")])
    report.same("by type", found(type="email"), [ids["filter pear"]])
    report.same("by direction", found(direction="out"), [out])
    report.same("by tag", found(tag="fruit"), [ids["filter apple"]])
    report.same("tags are shown", [m["tags"] for m in hub.items(API + "/messages", contact=one["contact_id"])],
                [[], [], [], ["fruit"]])
    report.same("by text", found(q="PEAR"), [ids["filter pear"]])
    report.same("% is a sign like others", found(q="100%"), [ids["filter 100% plum"]])
    report.same("by channel, conversation, time", len(found(channel="sandbox", conversation=one["conversation_id"],
                                                              since="2020-01-01T00:00:00Z")), 4)
    report.same("until is exclusive", found(until=one["received_at"]), [])
    report.same("pages of one are all of it", found(limit=1), found())
    report.same("unread only", len(found(unread="true")), 3)
    wrong = hub.get(API + "/messages", cursor="nonsense")
    report.same("a cursor of another list is refused", (wrong.status, wrong.json["field"]), (422, "cursor"))


def tags_and_reads(report, hub):
    id = receive(hub, "+15550100206", "tag me").json["id"]
    conversation = message(hub, id)["conversation_id"]
    for tag in ("b", "a", "a"):
        answer = hub.call("PUT", f"{API}/messages/{id}/tags/{tag}")
    report.same("tags are a set in order", answer.json["tags"], ["a", "b"])
    report.same("a tag comes off", hub.call("DELETE", f"{API}/messages/{id}/tags/a").json["tags"], ["b"])
    report.same("twice is the same", hub.call("DELETE", f"{API}/messages/{id}/tags/a").json["tags"], ["b"])
    odd = urllib.parse.quote("größe/1 ☂", safe="")
    answer = hub.call("PUT", f"{API}/messages/{id}/tags/{odd}")
    report.check("a tag with a slash is a tag or refused, never an accident",
                 answer.status == 404 or "größe/1 ☂" in answer.json["tags"], answer)
    for i in range(40):
        last = hub.call("PUT", f"{API}/messages/{id}/tags/t{i}")
    report.same("32 tags at most", (last.status, len(message(hub, id)["tags"])), (422, 32))
    report.same("unread before", hub.get(f"{API}/conversations/{conversation}").json["unread"], 1)
    first = hub.call("PUT", f"{API}/messages/{id}/read").json["read_at"]
    again = hub.call("PUT", f"{API}/messages/{id}/read").json["read_at"]
    report.check("the first reading counts", first and first == again, first, again)
    report.same("unread after", hub.get(f"{API}/conversations/{conversation}").json["unread"], 0)
    out = send(hub, "+15550100206", "mine").json["id"]
    report.same("what went out cannot be marked", hub.call("PUT", f"{API}/messages/{out}/read").status, 409)


def marks_many(report, hub):
    ids = [receive(hub, "+15550100207", f"many {i}").json["id"] for i in range(5)]
    conversation = message(hub, ids[0])["conversation_id"]
    until = message(hub, ids[2])["received_at"]
    read = API + "/messages/read"
    report.same("a dry run counts", hub.post(read, {"conversation": conversation, "dry_run": True}).json["read"], 5)
    report.same("and marks nothing", hub.get(f"{API}/conversations/{conversation}").json["unread"], 5)
    report.same("by ids", hub.post(read, {"ids": [ids[4], ids[4], ids[3]]}).json["read"], 2)
    report.same("a dry run by ids", hub.post(read, {"ids": ids, "dry_run": True}).json["read"], 3)
    below = hub.post(read, {"conversation": conversation, "until": until}).json["read"]
    report.check("until a time", below <= 2, below)
    hub.post(read, {"conversation": conversation})
    report.same("the whole conversation", hub.get(f"{API}/conversations/{conversation}").json["unread"], 0)
    report.same("both is refused", hub.post(read, {"ids": ids, "conversation": conversation}).status, 422)


def edits_and_deletes(report, hub):
    id = receive(hub, "+15550100208", "first text").json["id"]
    answer = hub.call("PATCH", f"{API}/messages/{id}", {"text": "second text"})
    report.same("edited", (answer.status, answer.json["text"], bool(answer.json["edited_at"])),
                (200, "second text", True))
    report.same("the old text is kept", [r["text"] for r in message(hub, id)["revisions"]], ["first text"])
    report.same("the same text again changes nothing",
                hub.call("PATCH", f"{API}/messages/{id}", {"text": "second text"}).status, 200)
    report.same("one revision still", len(message(hub, id)["revisions"]), 1)
    report.same("deleted", hub.call("DELETE", f"{API}/messages/{id}").status, 204)
    report.same("the tombstone has no text", sorted(message(hub, id)), ["conversation_id", "deleted_at", "id"])
    report.same("deleting again is done", hub.call("DELETE", f"{API}/messages/{id}").status, 204)
    report.same("a tombstone is not edited", hub.call("PATCH", f"{API}/messages/{id}", {"text": "x"}).status, 409)
    report.same("nor listed", hub.items(API + "/messages", q="second text"), [])
    later = send(hub, "+15550100208", "later", at="2036-01-01T00:00:00Z").json["id"]
    report.same("what waits to go out is not deleted", hub.call("DELETE", f"{API}/messages/{later}").status, 409)
    hub.post(f"{API}/messages/{later}/cancel")
    report.same("once called back it is", hub.call("DELETE", f"{API}/messages/{later}").status, 204)


# --- Sending ---

def sends(report, hub):
    answer = send(hub, "+1 555 010 0209", "outbound", metadata={"order": "A-17"})
    report.same("send answers 202", (answer.status, answer.json["state"]), (202, "queued"))
    id = answer.json["id"]
    report.same("it arrives", wait_state(hub, id, "delivered"), "delivered")
    stored = message(hub, id)
    report.same("as it was given", [stored[n] for n in ("to", "text", "origin", "metadata", "direction")],
                ["+15550100209", "outbound", "person", {"order": "A-17"}, "out"])
    steps = hub.get(f"{API}/messages/{id}/timeline").json["items"]
    whats = [step["what"] for step in steps]
    report.check("its timeline has states and the attempt", {"message.queued", "message.sent"} <= set(whats) and
                 any(step["kind"] == "attempt" and step["number"] == 1 for step in steps), steps)
    report.same("in order of time", [step["at"] for step in steps], sorted(step["at"] for step in steps))
    phone = hub.get(API + "/sandbox/messages", **{"as": "+15550100209"}).json["items"]
    report.same("the phone shows it", [m["text"] for m in phone], ["outbound"])
    reply = hub.post(API + "/messages/send", {"conversation": stored["conversation_id"], "text": "second"})
    report.same("an answer in the conversation", wait_state(hub, reply.json["id"], "delivered"), "delivered")
    alias = hub.post("/messages", {"to": "+15550100209", "text": "S2", "channel": "sandbox"})
    report.same("the older names send too", (alias.status, hub.post(
        API + "/messaging/outbound", {"to": "+15550100209", "text": "S1", "channel": "sandbox"}).status), (202, 202))
    report.same("a failing text fails with code and hint", wait_state(hub, send(
        hub, "+15550100209", "please #fail").json["id"], "failed"), "failed")


def plans(report, hub):
    before = len(hub.items(API + "/messages"))
    plan = send(hub, "+1 (555) 010-0210", "é" * 100 + "☂", dry_run=True)
    report.same("a dry run is 200", plan.status, 200)
    report.same("its plan", [plan.json[n] for n in ("dry_run", "channel", "kind", "to", "parts", "segments", "encoding",
                                                    "opted_out")],
                [True, "sandbox", "sandbox", "+15550100210", 1, 2, "UCS-2", False])
    report.same("GSM-7 is found", send(hub, "+15550100210", "a" * 161, dry_run=True).json["segments"], 2)
    report.same("nothing was stored", len(hub.items(API + "/messages")), before)
    wrong = send(hub, "12", "x")
    report.same("a wrong number is 422", (wrong.status, wrong.json["field"]), (422, "to"))
    report.check("with an example", "+1555" in wrong.json["hint"], wrong.json)


def schedules(report, hub):
    id = send(hub, "+15550100211", "in ten years", at="2036-01-01T00:00:00Z").json["id"]
    stored = message(hub, id)
    report.same("scheduled", [stored[n] for n in ("state", "scheduled_at", "origin")],
                ["queued", "2036-01-01T00:00:00.000Z", "scheduled"])
    report.check("it is counted", hub.get(API + "/outbox").json["scheduled"] >= 1, hub.get(API + "/outbox"))
    report.same("cancelled", hub.post(f"{API}/messages/{id}/cancel").json["state"], "cancelled")
    again = hub.post(f"{API}/messages/{id}/cancel")
    report.same("only once", (again.status, again.json["code"]), (409, "conflict"))
    soon = time.time() + 1.2
    id = send(hub, "+15550100211", "soon", at=int(soon * 1000)).json["id"]
    report.same("not yet", message(hub, id)["state"], "queued")
    report.same("then it leaves", wait_state(hub, id, "delivered"), "delivered")
    report.check("not before its time", time.time() >= soon, time.time() - soon)
    draft = send(hub, "+15550100211", "draft", draft=True).json
    report.same("a draft waits", (draft["state"], message(hub, draft["id"])["state"]), ("draft", "draft"))
    hub.post(f"{API}/messages/{draft['id']}/send")
    report.same("until it is sent", wait_state(hub, draft["id"], "delivered"), "delivered")
    past = send(hub, "+15550100211", "x", expires_at="2020-01-01T00:00:00Z")
    report.same("an expiry in the past is refused", (past.status, past.json["field"]), (422, "expires_at"))


def moves_in_the_outbox(report, hub):
    id = send(hub, "+15550100212", "hold me", at="2036-01-01T00:00:00Z").json["id"]
    report.same("held", hub.post(f"{API}/outbox/{id}/hold").json["state"], "held")
    depth = hub.get(API + "/outbox").json
    report.check("the outbox counts and lists it", depth["held"] >= 1 and id in [m["id"] for m in depth["messages"]],
                 depth)
    report.same("only unknown ones are resolved", hub.post(f"{API}/outbox/{id}/resolve", {"arrived": True}).status, 409)
    report.check("released", hub.post(f"{API}/outbox/{id}/release").json["state"] in ("queued", "sending", "delivered"))
    report.same("only held ones are released", hub.post(f"{API}/outbox/{id}/release").status, 409)
    failed = send(hub, "+15550100213", "now #fail").json["id"]
    wait_state(hub, failed, "failed")
    report.check("a failed one is tried again", hub.post(f"{API}/outbox/{failed}/retry").json["state"] in
                 ("queued", "sending", "failed"))
    wait_state(hub, failed, "failed")
    tries = [s for s in hub.get(f"{API}/messages/{failed}/timeline").json["items"] if s["kind"] == "attempt"]
    report.same("and the timeline shows both tries", len(tries), 2)
    unknown = send(hub, "+15550100214", "who knows #unknown").json["id"]
    report.same("an unknown one", wait_state(hub, unknown, "unknown"), "unknown")
    report.same("is resolved by a person", hub.post(f"{API}/outbox/{unknown}/resolve", {"arrived": True}).json["state"],
                "sent")
    answer = hub.post(API + "/outbox/dispatch-next")
    report.check("dispatch-next with nothing due is 204", answer.status in (200, 204), answer)
    report.same("under its older name too", hub.post(API + "/messaging/outbound/dispatch-next").status, 204)


def respects_opt_out(report, hub):
    contact = message(hub, receive(hub, "+15550100215", "hello there").json["id"])["contact_id"]
    answer = hub.call("PUT", f"{API}/contacts/{contact}/opt-out", {"reason": "by phone"})
    report.same("opted out", (answer.status, answer.json["opted_out_text"]), (200, "by phone"))
    report.same("a dry run knows", send(hub, "+15550100215", "x", dry_run=True).json["opted_out"], True)
    sent, again = (hub.post(API + "/messages/send", {"to": "+15550100215", "text": "x", "channel": "sandbox"},
                            headers={"Idempotency-Key": "opted-out"}) for _ in range(2))
    report.same("what is sent is suppressed", (sent.status, sent.json["state"]), (202, "suppressed"))
    report.same("the repeated request says so too", again.body, sent.body)
    report.same("and stored so", message(hub, sent.json["id"])["error_code"], "opted_out")
    report.same("opted in again", hub.call("DELETE", f"{API}/contacts/{contact}/opt-out").json["opted_out_at"], None)
    report.same("sends again", send(hub, "+15550100215", "x").json["state"], "queued")


# --- Conversations, contacts ---

def converses(report, hub):
    start = hub.post(API + "/conversations", {"to": "+15550100216", "channel": "sandbox", "name": "Grace"})
    report.same("started", (start.status, start.json["title"], start.json["state"]), (201, "Grace", "open"))
    again = hub.post("/conversations", {"to": "+1 555 0100216", "channel": "sandbox"})
    report.same("the same one is found", (again.status, again.json["id"]), (200, start.json["id"]))
    path = f"{API}/conversations/{start.json['id']}"
    for i in range(5):
        receive(hub, "+15550100216", f"c{i}")
    for older in (path, f"/conversations/{start.json['id']}"):
        report.same("its messages, newest first", [m["text"] for m in hub.items(older + "/messages", limit=2)],
                    ["c4", "c3", "c2", "c1", "c0"])
    report.same("state and title", [hub.call("PATCH", path, {"state": "done", "title": "Order"}).json[n]
                                    for n in ("state", "title")], ["done", "Order"])
    report.same("found by state", [c["id"] for c in hub.items(API + "/conversations", state="done", q="Order")],
                [start.json["id"]])
    report.same("no title", hub.call("PATCH", path, {"title": None}).json["title"], None)
    report.same("assigned", hub.call("PUT", path + "/assignee", {"to": "ada"}).json["assigned_to"], "ada")
    report.same("found by assignee", [c["id"] for c in hub.items(API + "/conversations", assigned_to="ada")],
                [start.json["id"]])
    report.same("to nobody", hub.call("PUT", path + "/assignee", {"to": None}).json["assigned_to"], None)
    report.check("paused", hub.call("PUT", path + "/pause", {}).json["paused_until"])
    paused = hub.call("PUT", path + "/pause", {"until": "2036-01-01T00:00:00Z"}).json
    report.same("until a time", paused["paused_until"], "2036-01-01T00:00:00.000Z")
    report.same("handed back", hub.call("DELETE", path + "/pause").json["paused_until"], None)
    report.same("a past pause is refused", hub.call("PUT", path + "/pause", {"until": 1000}).status, 422)


def keeps_contacts(report, hub):
    contact = message(hub, receive(hub, "+15550100217", "who am I").json["id"])["contact_id"]
    path = f"{API}/contacts/{contact}"
    changed = hub.call("PATCH", path, {"name": "Linus", "time_zone": "Europe/Helsinki", "metadata": {"vip": True}}).json
    report.same("changed", [changed[n] for n in ("name", "time_zone", "metadata")],
                ["Linus", "Europe/Helsinki", {"vip": True}])
    report.same("found by name", [c["id"] for c in hub.items(API + "/contacts", q="linus")], [contact])
    cleared = hub.call("PATCH", path, {"name": None, "metadata": None}).json
    report.same("null removes, absent stays", [cleared[n] for n in ("name", "time_zone", "metadata")],
                [None, "Europe/Helsinki", None])
    report.same("a wrong zone is refused", hub.call("PATCH", path, {"time_zone": "Mars/?"}).json["field"], "time_zone")


# --- Sync ---

def sync_all(hub, cursor=None, **query):
    """Everything from a cursor on: the newest version of each message, and the next cursor."""
    seen = {}
    while True:
        query = {**{n: v for n, v in query.items() if n != "since"}, "cursor": cursor} if cursor else query
        answer = hub.get(API + "/sync/messages", **query)
        if answer.status != 200:
            raise RuntimeError(f"sync {query}: {answer}")
        page = answer.json
        for item in page["items"]:
            seen[item["id"]] = item
        cursor = page["next"]
        if not page["has_more"]:
            return seen, cursor


def syncs(report, hub):
    _, cursor = sync_all(hub, limit=500)
    ids = [receive(hub, "+15550100218", f"s{i}").json["id"] for i in range(7)]
    seen, after = sync_all(hub, cursor, limit=3)
    report.same("a cursor gives what is new", {i: m["text"] for i, m in seen.items() if i in ids},
                {id: f"s{i}" for i, id in enumerate(ids)})
    hub.call("DELETE", f"{API}/messages/{ids[0]}")
    hub.call("PATCH", f"{API}/messages/{ids[1]}", {"text": "edited"})
    hub.call("PUT", f"{API}/messages/{ids[2]}/read")
    hub.call("PUT", f"{API}/messages/{ids[2]}/tags/synced")
    seen, after = sync_all(hub, after)
    report.check("a tombstone", "text" not in seen[ids[0]] and seen[ids[0]]["deleted_at"], seen[ids[0]])
    report.same("an edit", seen[ids[1]]["text"], "edited")
    report.check("a reading", seen[ids[2]]["read_at"], seen[ids[2]])
    report.same("a tag", seen[ids[2]]["tags"], ["synced"])
    quiet, _ = sync_all(hub, after)
    report.same("and nothing else", [i for i in quiet if i in ids], [])
    whole, _ = sync_all(hub, None, limit=500)
    page = hub.get(API + "/sync/messages", since="2020-01-01T00:00:00Z", limit=500).json
    report.check("from the start everything", set(ids) <= set(whole), len(whole))
    report.check("since a time", page["items"], page)
    recent, _ = sync_all(hub, None, since=int(time.time() * 1000))
    report.check("since now with overlap", set(ids) <= set(recent), len(recent))
    answer = hub.get(API + "/sync/messages", cursor="x" + after[1:])
    report.same("no cursor is 422", answer.status, 422)
    report.same("both is refused", hub.get(API + "/sync/messages", cursor=after, since=1).status, 422)


def resyncs(report, _):
    """A cursor of another life of this hub: the same master key, a new database."""
    with tempfile.TemporaryDirectory(prefix="message-hub-") as data:
        with Hub(data=data) as first:
            receive(first, "+15550100222", "before")
            cursor = first.get(API + "/sync/messages").json["next"]
        for file in glob.glob(data + "/hub.db*"):
            os.remove(file)
        with Hub(data=data) as second:
            answer = second.get(API + "/sync/messages", cursor=cursor)
            report.same("a cursor of another epoch is 410", (answer.status, answer.json["code"]), (410, "resync"))
            report.check("with what to do", "start" in answer.json["hint"], answer)
            report.same("and a fresh start works", second.get(API + "/sync/messages").status, 200)


def syncs_devices(report, hub):
    device = hub.post(API + "/devices", {"name": "phone", "platform": "android", "channel": "sandbox"}).json
    token = device["token"]
    brought = hub.call("POST", API + "/messages", {"from": "+15550100219", "text": "from the phone", "id": "p-1"},
                       key=token)
    report.same("a device hands in without naming a channel", brought.status, 201)
    report.same("and is remembered", message(hub, brought.json["id"])["device_id"], device["id"])
    listed = hub.items(API + "/messages", device=device["id"])
    report.same("listed by device", [m["id"] for m in listed], [brought.json["id"]])
    seen, cursor = sync_all(hub, None, device_filter=device["id"], limit=500)
    report.same("synced by device", list(seen), [brought.json["id"]])

    def lag():
        return [d["lag"] for d in hub.items(API + "/sync/status") if d["id"] == device["id"]][0]

    report.check("it lags before it syncs", lag() > 0, lag())
    answer = hub.call("GET", f"{API}/sync/messages?cursor={cursor}", key=token)
    report.same("a device syncs with its key", answer.status, 200)
    report.check("and has caught up", lag() <= 1, lag())


def converges(report, hub):
    """Edits, tags and readings by many at once: every reader ends with the same message."""
    id = receive(hub, "+15550100220", "race").json["id"]
    path = f"{API}/messages/{id}"
    jobs = [lambda i=i: hub.call("PATCH", path, {"text": f"race {i}"}) for i in range(10)]
    jobs += [lambda i=i: hub.call("PUT", f"{path}/tags/race{i % 5}") for i in range(10)]
    jobs += [lambda: hub.call("PUT", path + "/read") for _ in range(5)]
    answers = []
    threads = [threading.Thread(target=lambda job=job: answers.append(job())) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report.same("all 25 are done", {a.status for a in answers}, {200})
    final = message(hub, id)
    report.same("tags are the union", final["tags"], [f"race{i}" for i in range(5)])
    report.same("every earlier text is kept", len(final["revisions"]), 10)
    report.same("no text is lost", {r["text"] for r in final["revisions"]} | {final["text"]},
                {"race"} | {f"race {i}" for i in range(10)})
    report.same("sync has the same", sync_all(hub, None, limit=500)[0][id]["text"], final["text"])


def speaks_for_the_sandbox(report, hub):
    said = hub.post(API + "/sandbox/say", {"text": "hi from the phone", "as": "+15550100221", "name": "Sim",
                                            "id": "sim-1"})
    report.same("said", (said.status, said.json["text"], said.json["from"]), (201, "hi from the phone", "+15550100221"))
    report.same("the same id is the same message", hub.post(API + "/sandbox/say", {
        "text": "hi from the phone", "as": "+15550100221", "id": "sim-1"}).json["id"], said.json["id"])
    out = send(hub, "+15550100221", "answer #noreceipt").json["id"]
    report.same("without a receipt it stays sent", wait_state(hub, out, "sent"), "sent")
    report.same("read", hub.post(API + "/sandbox/receipt", {"message": out, "state": "read"}).json["state"], "read")
    report.same("a receipt moves nothing down",
                hub.post(API + "/sandbox/receipt", {"message": out, "state": "delivered"}).json["state"], "read")
    report.same("what came in gets no receipt",
                hub.post(API + "/sandbox/receipt", {"message": said.json["id"], "state": "read"}).status, 409)


TESTS = [receives, decides, recognises_duplicates, repeats_requests, receives_batches, filters_lists,
         tags_and_reads, marks_many, edits_and_deletes, sends, plans, schedules, moves_in_the_outbox,
         respects_opt_out, converses, keeps_contacts, syncs, resyncs, syncs_devices, converges,
         speaks_for_the_sandbox]

if __name__ == "__main__":
    Report("messages").run(TESTS)
