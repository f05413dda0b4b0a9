#!/usr/bin/env python3
"""badinput_test - what is too large, too deep, too many, not JSON, not text, not theirs, not signed: each gets its
status and a problem that says what to do, and leaves the hub as it was."""
import hashlib
import hmac
import http.client
import json
import time

from api import API, Report, wait_for

SEND = API + "/messages/send"
RECEIVE = API + "/messages"
GOOD = {"from": "+15550100400", "text": "x", "channel": "sandbox"}


def is_quiet(hub):
    """Nothing is about to be decided or sent by itself."""
    queue = hub.get(API + "/stats").json["queue"]
    return not sum(queue["decide"].values()) and not queue["send"]["ready"] and not queue["send"]["running"]


def snapshot(hub):
    """How much there is, and where the log ends: any row that was written shows in one of them."""
    wait_for(lambda: is_quiet(hub), 20)
    stats = hub.get(API + "/stats").json
    end = hub.get(API + "/sync/messages", since=int(time.time() * 1000) + 10**9, limit=500)
    paths = ("/messages", "/conversations", "/contacts", "/devices", "/channels")
    return {**stats, "since": 0}, end.json["next"], [len(hub.items(API + path)) for path in paths]


class Refusals:
    """Calls that must be refused; what one leaves behind is found at the end of each group."""

    def __init__(self, report, hub, group):
        self.report, self.hub, self.group = report, hub, group

    def __enter__(self):
        self.before = snapshot(self.hub)
        return self

    def __exit__(self, kind, *_):
        if not kind:
            self.report.same(f"{self.group}: nothing was written", snapshot(self.hub), self.before)

    def refused(self, name, answer, status, field=None):
        problem = answer.json or {}
        good = answer.status == status and problem.get("status") == status and problem.get("detail") and \
            problem.get("code") and problem.get("request_id") and (field is None or problem.get("field") == field) and \
            answer.headers.get("content-type", "").startswith("application/problem+json")
        says = problem.get("hint") or status in (400, 413)
        self.report.check(f"{self.group}: {name} is {status}", good and says, answer, f"field {field}")


def raw(hub, path, body, headers=None, method="POST"):
    return hub.call(method, path, body if isinstance(body, bytes) else body.encode(), headers=headers)


def nested(depth):
    return '{"a":' * depth + "1" + "}" * depth


def refuses_what_is_too_much(report, hub):
    with Refusals(report, hub, "too much") as test:
        test.refused("a body over 2 MiB", raw(hub, API + "/tenants", json.dumps({"name": "x" * 2**21})), 413)
        test.refused("a message over 4 MiB", raw(hub, RECEIVE, json.dumps({**GOOD, "text": "x" * 2**22})), 413)
        test.refused("a batch over 4 MiB", raw(hub, RECEIVE + "/batch", json.dumps({"messages": [
            {"from": "+15550100400", "text": "x" * 2**22}]})), 413)
        test.refused("a text over 1 MiB", hub.post(RECEIVE, {**GOOD, "text": "x" * (2**20 + 1)}), 422, "text")
        test.refused("the same to be sent", hub.post(SEND, {"to": "+15550100400", "text": "x" * (2**20 + 1)}), 422,
                     "text")
        test.refused("more than 100 parts", hub.post(SEND, {"to": "+15550100400", "channel": "sandbox",
                                                            "text": "word " * 50000}), 422, "text")
        test.refused("metadata over 16 KiB", hub.post(RECEIVE, {**GOOD, "metadata": {"a": "x" * 2**14}}), 422,
                     "metadata")
        test.refused("an address over 320 bytes", hub.post(RECEIVE, {**GOOD, "from": "1" * 321}), 422, "from")
        test.refused("an id over 512 bytes", hub.post(RECEIVE, {**GOOD, "id": "1" * 513}), 422, "id")
        test.refused("1,001 messages", hub.post(RECEIVE + "/batch", {"messages": [GOOD] * 1001}), 422, "messages")
        test.refused("no message at all", hub.post(RECEIVE + "/batch", {"messages": []}), 422, "messages")
        test.refused("33 levels", raw(hub, RECEIVE, '{"from":"a","text":"b","metadata":' + nested(40) + "}"), 413)
        test.refused("1,001 keys", hub.post(RECEIVE, {**GOOD, "metadata": {str(i): 0 for i in range(1001)}}), 413)
        test.refused("200,001 values", hub.post(RECEIVE, {**GOOD, "metadata": {"a": [0] * 200001}}), 413)
        test.refused("a number of 65 digits", hub.post(RECEIVE, {**GOOD, "metadata": {"n": int("1" * 65)}}), 413)
        test.refused("a list of 501", hub.get(API + "/messages", limit=501), 422, "limit")
        test.refused("a key of 256 characters", hub.post(RECEIVE, GOOD, headers={"Idempotency-Key": "k" * 256}), 422,
                     "Idempotency-Key")


def refuses_what_is_no_json(report, hub):
    with Refusals(report, hub, "no JSON") as test:
        for name, body in (("a word", "hello"), ("half an object", '{"from":'), ("two values", json.dumps(GOOD) + "{}"),
                           ("a comma too many", '{"from":"a","text":"b",}'), ("NaN", '{"from":"a","text":NaN}'),
                           ("a comment", '{"from":"a","text":"b"}//'), ("single quotes", "{'from':'a'}"),
                           ("a number out of range", '{"from":"a","text":"b","metadata":{"n":1e999}}')):
            test.refused(name, raw(hub, RECEIVE, body), 400)
        for name, body in (("bad UTF-8", b'{"from":"a","text":"\xff\xfe"}'),
                           ("overlong UTF-8", b'{"from":"a","text":"\xc0\xaf"}'),
                           ("a surrogate in UTF-8", b'{"from":"a","text":"\xed\xa0\x80"}'),
                           ("half a surrogate pair", b'{"from":"a","text":"\\ud800"}'),
                           ("a NUL", b'{"from":"a","text":"a\\u0000b"}'),
                           ("a raw NUL", b'{"from":"a","text":"a\x00b"}'),
                           ("UTF-16", json.dumps(GOOD).encode("utf-16"))):
            test.refused(name, raw(hub, RECEIVE, body), 400)
        for name, body in (("a duplicate key", '{"from":"a","from":"b","text":"x"}'),
                           ("a duplicate key below", '{"from":"a","text":"b","metadata":{"k":1,"k":2}}')):
            test.refused(name, raw(hub, RECEIVE, body), 400)
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/xml"):
            test.refused(kind, raw(hub, RECEIVE, json.dumps(GOOD), headers={"Content-Type": kind}), 415)
        test.refused("nothing", raw(hub, RECEIVE, ""), 422, "from")
        for name, body in (("an array", "[]"), ("a text", '"x"'), ("null", "null")):
            test.refused(name, raw(hub, RECEIVE, body), 422)
        test.refused("a body on GET", hub.call("GET", API + "/messages", {"limit": 1}), 400)


def refuses_wrong_fields(report, hub):
    with Refusals(report, hub, "wrong field") as test:
        for field, value in (("from", 7), ("from", ""), ("from", None), ("text", ["x"]), ("type", "pigeon"),
                             ("type", ""), ("sent_at", "yesterday"), ("sent_at", -1),
                             ("sent_at", "2026-02-30T00:00:00Z"),
                             ("priority", "urgentest"), ("metadata", []), ("history", "yes"), ("id", ""),
                             ("surprise", 1), ("channel", 5)):
            test.refused(f"{field} {value!r}", hub.post(RECEIVE, {**GOOD, field: value}), 422, field)
        answer = hub.post(RECEIVE, {**GOOD, "type": "smss"})
        report.check("wrong field: an unknown type is answered with the known ones",
                     "whatsapp" in answer.json["detail"] and "sms" in answer.json["hint"], answer)
        answer = hub.post(RECEIVE, {**GOOD, "form": "+15550100400"})
        report.check("wrong field: a misspelt name is answered with the right one", '"from"' in answer.json["hint"],
                     answer)
        test.refused("nobody to send to", hub.post(SEND, {"text": "x"}), 422, "to")
        test.refused("two places to send to", hub.post(SEND, {"text": "x", "to": "+15550100400", "conversation":
                                                              "cnv_0000000000000"}), 422)
        to_send = {"to": "+15550100400", "text": "x", "channel": "sandbox"}
        test.refused("a number without sense", hub.post(SEND, {**to_send, "to": "12"}), 422, "to")
        test.refused("an unknown channel", hub.post(SEND, {**to_send, "channel": "nowhere"}), 404, "channel")
        test.refused("an empty text", hub.post(SEND, {**to_send, "text": ""}), 422, "text")
        test.refused("limit 0", hub.get(API + "/messages", limit=0), 422, "limit")
        test.refused("a parameter twice", hub.call("GET", API + "/messages?limit=1&limit=2"), 422, "limit")
        test.refused("an unknown parameter", hub.get(API + "/messages", page=2), 422, "page")
        test.refused("a broken escape", hub.call("GET", API + "/messages?q=%ZZ"), 400)
        test.refused("bad UTF-8 in a parameter", hub.call("GET", API + "/messages?q=%FF"), 400)
        test.refused("a field of the body in the query", hub.call("POST", RECEIVE + "?from=x", GOOD), 422, "from")
        test.refused("a time without zone", hub.get(API + "/messages", since="2026-11-20T10:00:00"), 422, "since")


def refuses_wrong_cursors(report, hub):
    for i in range(3):
        hub.post(RECEIVE, {**GOOD, "from": f"+1555010040{i}"})
    lists = ["/messages", "/conversations", "/contacts", "/keys", "/audit", "/channels"]
    hub.post(API + "/channels", {"kind": "sandbox", "name": "second"})
    hub.post(API + "/keys", {"name": "second", "scopes": ["read"]})
    cursors = {path: hub.get(API + path, limit=1).json["next"] for path in lists}
    tenant = hub.post(API + "/tenants", {"name": "cursors"}).json["token"]
    with Refusals(report, hub, "cursors") as test:
        for path, cursor in cursors.items():
            other = cursors["/contacts" if path == "/messages" else "/messages"]
            odd = cursor[:-1] + ("A" if cursor[-1] != "A" else "B")
            for name, text in (("nonsense", "nonsense"), ("an offset", "100"), ("one of another list", other),
                               ("one with a changed end", odd), ("half of one", cursor[:len(cursor) // 2]),
                               ("two", cursor + cursor), ("an odd text", "☂' OR 1=1")):
                test.refused(f"{name} on {path}", hub.get(API + path, cursor=text), 422, "cursor")
            theirs = hub.call("GET", f"{API}{path}?cursor={cursor}", key=tenant)
            test.refused(f"one of another tenant on {path}", theirs, 422, "cursor")
        for text in ("nonsense", "AAAA", "☂"):
            test.refused(f"{text} for sync", hub.get(API + "/sync/messages", cursor=text), 422)
            test.refused(f"{text} for events", hub.get(API + "/events/list", cursor=text), 422)
        mine = hub.get(API + "/sync/messages").json["next"]
        test.refused("sync's of another tenant", hub.call("GET", f"{API}/sync/messages?cursor={mine}", key=tenant), 422)


def refuses_wrong_places(report, hub):
    with Refusals(report, hub, "places") as test:
        test.refused("an unknown path", hub.get(API + "/mesages"), 404)
        report.check("places: a misspelt path is answered with the right one", API + "/messages" in
                     hub.get(API + "/mesages").json["hint"])
        test.refused("a trailing slash", hub.get(API + "/messages/"), 404)
        test.refused("a method that does not work", hub.call("DELETE", API + "/messages"), 405)
        report.same("places: it says which do", hub.call("DELETE", API + "/messages").headers.get("allow"),
                    "OPTIONS, GET, HEAD, POST")
        test.refused("a NUL in a path", hub.get(f"{API}/messages/msg_9tfzgfewdhdm%00"), 400)
        for id in ("msg_0000000000000", "msg_1", "1", "cnv_9tfzgfewdhdmf", "%2e%2e"):
            answer = hub.get(f"{API}/messages/{id}")
            test.refused(f"the message {id}", answer, 404)
        test.refused("a wrong key", hub.call("GET", API + "/messages", key="mh_" + "x" * 43), 401)
        test.refused("no key", hub.call("GET", API + "/messages", key=None), 401)


def refuses_wrong_keys_for_repeats(report, hub):
    head = {"Idempotency-Key": "same"}
    hub.post(RECEIVE, {**GOOD, "text": "one"}, headers=head)
    hub.post(SEND, {"to": "+15550100400", "text": "one", "channel": "sandbox", "at": "2036-01-01T00:00:00Z"},
             headers={"Idempotency-Key": "sent"})
    with Refusals(report, hub, "repeats") as test:
        test.refused("another text", hub.post(RECEIVE, {**GOOD, "text": "two"}, headers=head), 422)
        test.refused("another operation", hub.post(API + "/conversations", {"to": "+15550100401"}, headers=head), 422)
        test.refused("another text to send", hub.post(SEND, {"to": "+15550100400", "text": "two", "channel": "sandbox"},
                                                      headers={"Idempotency-Key": "sent"}), 422)
        test.refused("an empty one", hub.post(RECEIVE, GOOD, headers={"Idempotency-Key": ""}), 422, "Idempotency-Key")


def hook_call(hub, path, body, key, at_s):
    signature = hmac.new(key.encode(), body + str(at_s).encode(), hashlib.sha256).hexdigest()
    return hub.call("POST", path, body, key=None, headers={"X-Signature": signature, "X-Timestamp": str(at_s)})


def refuses_wrong_signatures(report, hub):
    channel = hub.post(API + "/channels", {"kind": "android", "name": "signed",
                                           "settings": {"signing_key": "k3yABCDE"}}).json
    path = channel["hook_path"]
    body = json.dumps({"deviceId": "dev1", "event": "sms:received", "id": "ev1", "webhookId": "wh1", "payload": {
        "messageId": "abc123", "message": "hi", "sender": "+15551230001", "simNumber": 1,
        "receivedAt": "2026-11-20T15:46:11.000Z"}}).encode()
    now_s = int(time.time())
    with Refusals(report, hub, "signatures") as test:
        test.refused("another key", hook_call(hub, path, body, "another", now_s), 403)
        test.refused("a changed body", hub.call("POST", path, body.replace(b"hi", b"ho"), key=None, headers={
            "X-Signature": hmac.new(b"k3yABCDE", body + str(now_s).encode(), hashlib.sha256).hexdigest(),
            "X-Timestamp": str(now_s)}), 403)
        test.refused("none", hub.call("POST", path, body, key=None), 403)
        test.refused("an old one", hook_call(hub, path, body, "k3yABCDE", now_s - 3600), 403)
        test.refused("a hook that is none", hub.call("POST", "/hooks/" + "x" * 32, body, key=None), 404)
    first = hook_call(hub, path, body, "k3yABCDE", now_s)
    report.same("signatures: the right one is taken", first.status, 200)
    with Refusals(report, hub, "a replayed webhook"):
        for _ in range(20):
            again = hook_call(hub, path, body, "k3yABCDE", now_s)
    report.same("signatures: a replayed webhook is answered like the first", (again.status, again.body),
                (first.status, first.body))


def keeps_answering_after_half_requests(report, hub):
    """Connections that end in the middle of a body leave nothing behind."""
    with Refusals(report, hub, "half requests"):
        for _ in range(20):
            connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=10)
            connection.putrequest("POST", RECEIVE)
            connection.putheader("Authorization", "Bearer " + hub.key)
            connection.putheader("Content-Length", "1000")
            connection.endheaders(b'{"from":"+15550100400","text":"half')
            connection.close()
        report.same("half requests: the next one is answered", hub.get(API + "/messages").status, 200)


TESTS = [refuses_what_is_too_much, refuses_what_is_no_json, refuses_wrong_fields, refuses_wrong_cursors,
         refuses_wrong_places, refuses_wrong_keys_for_repeats, refuses_wrong_signatures,
         keeps_answering_after_half_requests]

if __name__ == "__main__":
    Report("bad input").run(TESTS)
