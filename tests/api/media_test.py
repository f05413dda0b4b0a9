#!/usr/bin/env python3
"""media_test - files from outside: brought, got, sent and received; what is wrong with them, who may not see them; and
kept in a bucket whose other side checks every signature by itself."""
import base64
import hashlib
import os
import socket

from api import API, Hub, Report, wait_for
import s3

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
MIB = 1024 * 1024


def upload(hub, data, key="", **headers):
    return hub.call("POST", API + "/media", data, key=key,
                    headers={"Content-Type": "application/octet-stream", **headers})


def download(hub, id, key="", **headers):
    return hub.call("GET", f"{API}/media/{id}", key=key, headers=headers)


def b64(data):
    return base64.b64encode(data).decode()


def files_of(hub, message):
    return hub.get(f"{API}/messages/{message}").json["attachments"]


# --- Bringing and getting ---

def comes_back_as_it_went(report, hub):
    first, again = upload(hub, PNG), upload(hub, PNG)
    report.same("an upload tells what it is",
                (first.status, first.json["type"], first.json["size"], first.json["sha256"]),
                (201, "image/png", len(PNG), hashlib.sha256(PNG).hexdigest()))
    report.same("the same bytes are the same file", again.json["id"], first.json["id"])
    got = download(hub, first.json["id"])
    report.check("a file comes back as it went", got.status == 200 and got.body == PNG, got)
    wanted = {"content-type": "image/png", "x-content-type-options": "nosniff",
              "content-security-policy": "sandbox; default-src 'none'"}
    report.same("its headers keep a browser from running it",
                {name: got.headers.get(name) for name in wanted}, wanted)
    part = download(hub, first.json["id"], Range="bytes=1-3")
    report.same("a part of it", (part.status, part.body, part.headers["content-range"]),
                (206, b"PNG", f"bytes 1-3/{len(PNG)}"))
    behind = download(hub, first.json["id"], Range=f"bytes={len(PNG)}-")
    report.same("a part behind its end", (behind.status, behind.headers["content-range"]), (416, f"bytes */{len(PNG)}"))
    head = hub.call("HEAD", f"{API}/media/{first.json['id']}")
    report.same("HEAD tells its length", (head.status, head.headers["content-length"], head.body),
                (200, str(len(PNG)), b""))


def takes_forms(report, hub):
    form = (b"--xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"../../x.html\"\r\n"
            b"Content-Type: image/png\r\n\r\n<script>alert(1)</script>\r\n--xyz--\r\n")
    done = upload(hub, form, **{"Content-Type": "multipart/form-data; boundary=xyz"})
    report.same("a form's file, by its bytes and not by its words", (done.status, done.json["type"]),
                (201, "text/plain"))
    got = download(hub, done.json["id"])
    report.check("a page is never served as one", got.headers["content-type"] == "text/plain"
                 and got.headers["content-disposition"].startswith("attachment;"), got.headers)
    cut = upload(hub, form[:-10], **{"Content-Type": "multipart/form-data; boundary=xyz"})
    report.check("a form that is cut", cut.status == 400 and cut.json["hint"], cut)
    none = upload(hub, b"--xyz--\r\n", **{"Content-Type": "multipart/form-data; boundary=xyz"})
    report.same("a form without a file", (none.status, none.json["field"]), (422, "file"))


def refuses_sizes(report, hub):
    empty = upload(hub, b"")
    report.check("an empty file", empty.status == 422 and "empty" in empty.json["detail"] and empty.json["hint"], empty)
    connection = hub.connect(60)
    try:
        large = hub.call("POST", API + "/media", b"x" * (25 * MIB + 1), connection=connection,
                         headers={"Content-Type": "application/octet-stream"})
    finally:
        connection.close()
    report.check("a file over the limit", large.status == 413 and "26214400" in large.json["detail"], large)
    largest = upload(hub, os.urandom(1024) * (25 * 1024))
    report.same("a file at the limit", (largest.status, largest.json["size"]), (201, 25 * MIB))
    other = hub.call("POST", API + "/messages/send", b" " * (5 * MIB))
    report.check("other routes take no such bodies", other.status == 413, other)


def hides_from_others(report, hub, other):
    mine = upload(hub, b"mine alone").json["id"]
    message = hub.post(API + "/sandbox/say", {"text": "look", "files": [{"data": b64(b"mine alone")}]}).json["id"]
    for what, path in (("file", f"/media/{mine}"), ("message's file", f"/messages/{message}/attachments/0")):
        theirs = hub.call("GET", API + path, key=other)
        never = hub.call("GET", API + path.replace(mine, "med_0000000000000").replace(message, "msg_0000000000000"))
        shown = [{n: v for n, v in a.json.items() if n != "request_id"} for a in (theirs, never)]
        report.check(f"another tenant's {what} looks like none", theirs.status == 404 and shown[0] == shown[1],
                     *shown)
    sent = hub.call("POST", API + "/messages/send", {"to": "+15550100", "channel": "sandbox", "text": "x",
                                                     "attachments": [{"media": mine}]}, key=other)
    report.check("another tenant's file cannot be sent", sent.status in (404, 422), sent)
    report.same("equal bytes of two tenants are two files", upload(hub, b"mine alone", key=other).json["id"] == mine,
                False)


def bounds_what_is_coming_in(report, hub):
    """Nine uploads of 20 MiB stop before their last byte: more than the ceiling, so one is turned away; whoever sends
    little is served all the while."""
    sockets, refused = [], 0
    try:
        for _ in range(9):
            line = socket.create_connection(("127.0.0.1", hub.port), timeout=10)
            sockets.append(line)
            line.sendall(f"POST {API}/media HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {hub.key}\r\n"
                         f"Content-Length: {20 * MIB}\r\n\r\n".encode())
            try:
                line.sendall(b"x" * (20 * MIB - 1))
            except OSError:
                pass            # turned away in the middle
        served = hub.get(API + "/messages?limit=1").status
        for line in sockets:
            line.settimeout(0.5)
            try:
                refused += b" 503 " in line.recv(100)
            except OSError:
                pass
    finally:
        for line in sockets:
            line.close()
    report.check("uploads at once are bounded", 0 < refused < 9 and served == 200, refused, served)


# --- Messages ---

def come_in(report, hub):
    names = ["../../etc/passwd", "a\r\nX: y", "C:\\x\\y.exe", "\u202egpj.exe", "." * 100, "n" * 199]
    message = hub.post(API + "/messages", {"from": "+15550102", "text": "", "channel": "sandbox", "attachments": [
        {"data": b64(b"text %d" % n), "name": name} for n, name in enumerate(names)]}).json["id"]
    for n, file in enumerate(files_of(hub, message)):
        got = hub.call("GET", file["url"])
        bad = [c for c in file["name"] if c in "/\\\r\n\"\u202e" or ord(c) < 32]
        report.check(f"a name with tricks is harmless: {names[n][:20]!r}", got.body == b"text %d" % n and not bad
                     and not file["name"].startswith(".") and len(file["name"]) <= 120
                     and ".." not in got.headers["content-disposition"], file, got.headers)
    kept = hub.post(API + "/sandbox/say", {"text": "x", "files": [{"ref": "at the provider", "name": "n.txt"}]})
    stored = wait_for(lambda: [f for f in files_of(hub, kept.json["id"]) if f["state"] == "stored"])
    report.check("what the provider keeps is fetched", stored and hub.call("GET", stored[0]["url"]).body ==
                 b"at the provider", stored)
    kinds = [event["kind"] for event in hub.items(API + "/events/list")]
    report.check("and the log tells", "attachment.stored" in kinds, kinds)
    changed = hub.get(API + "/sync/messages").json["items"]
    report.check("and the sync shows", any(m["id"] == kept.json["id"] and m["attachments"][0]["state"] == "stored"
                                           for m in changed), changed[-1])
    gone = hub.post(API + "/sandbox/say", {"text": "x", "files": [{"ref": "#gone"}]}).json["id"]
    lost = wait_for(lambda: [f for f in files_of(hub, gone) if f["state"] == "failed"])
    answer = hub.get(f"{API}/messages/{gone}/attachments/0")
    report.check("a file that is lost says so", lost and lost[0]["reason"] and answer.status == 410, lost, answer)
    pending = hub.post(API + "/sandbox/say", {"text": "x", "files": [{"ref": "#offline"}]}).json["id"]
    answer = hub.get(f"{API}/messages/{pending}/attachments/0")
    report.check("a file that is not here yet says so", answer.status == 409 and answer.json["hint"], answer)
    inside = hub.post(API + "/messages", {"from": "+15550102", "text": "", "channel": "sandbox", "attachments": [
        {"url": f"http://127.0.0.1:{hub.port}/livez"}]}).json["id"]
    lost = wait_for(lambda: [f for f in files_of(hub, inside) if f["state"] == "failed"])
    report.check("a private address is never asked", lost and "may be reached" in lost[0]["reason"],
                 files_of(hub, inside))


def go_out(report, hub):
    media = upload(hub, PNG).json["id"]
    body = {"to": "+15550100", "channel": "sandbox", "text": "look", "attachments": [
        {"media": media, "name": "a.png"}, {"data": b64(b"hello"), "name": "h.txt"}]}
    id = hub.post(API + "/messages/send", body).json["id"]
    sent = wait_for(lambda: (m := hub.get(f"{API}/messages/{id}").json)["state"] == "delivered" and m)
    attempts = [row["detail"] for row in hub.items(f"{API}/messages/{id}/timeline") if row["kind"] == "attempt"]
    report.check("files go out as parts", sent and sent["parts"] == 2 and len(attempts) == 2, sent, attempts)
    report.check("with the bytes that were given", sent and sent["external_id"].endswith("-2cf24dba5fb0a30e"), sent)
    alone = hub.post(API + "/messages/send", {"to": "+15550100", "channel": "sandbox",
                                              "attachments": [{"media": media}]})
    report.check("a file needs no text", alone.status == 202, alone)
    hub.post(API + "/channels", {"kind": "android", "name": "wordy", "settings": {
        "base_url": "http://127.0.0.1:9", "username": "u", "password": "p"}})
    refused = hub.post(API + "/messages/send", {**body, "channel": "wordy"})
    report.check("a channel that takes none refuses", refused.status == 422 and refused.json["field"] == "attachments"
                 and refused.json["hint"], refused)
    for what, file in (("nothing", {}), ("two things", {"media": media, "data": "aGVsbG8="}),
                       ("no base64", {"data": "?"}), ("no bytes", {"data": ""}),
                       ("an unknown file", {"media": "med_0000000000000"})):
        wrong = hub.post(API + "/messages/send", {**body, "attachments": [file]})
        report.check(f"a file that is {what}", wrong.status in (404, 422) and
                     wrong.json["field"].startswith("attachments") and wrong.json["hint"], wrong)
    many = hub.post(API + "/messages/send", {**body, "attachments": [{"media": media}] * 21})
    report.check("too many files", many.status == 422, many)


def tests_a_folder(report, hub):
    other = hub.post(API + "/tenants", {"name": "another"}).json["token"]
    hub.call("POST", API + "/channels", {"kind": "sandbox", "name": "sandbox"}, key=other)
    comes_back_as_it_went(report, hub)
    takes_forms(report, hub)
    refuses_sizes(report, hub)
    hides_from_others(report, hub, other)
    come_in(report, hub)
    go_out(report, hub)
    bounds_what_is_coming_in(report, hub)
    modes = {os.stat(os.path.join(folder, name)).st_mode & 0o777
             for folder, _, names in os.walk(os.path.join(hub.data, "media")) for name in names}
    report.same("files are for the hub's user only", modes, {0o600})


# --- A bucket ---

def keeps_in_a_bucket(report):
    with s3.Bucket() as bucket:
        settings = ["--media-s3-url", bucket.url, "--media-s3-region", bucket.region, "--media-s3-key", bucket.key,
                    "--media-s3-secret", bucket.secret]
        with Hub(*settings) as hub:
            early = upload(hub, PNG)
            report.check("a private bucket needs the operator's word", early.status == 503 and not bucket.requests,
                         early, bucket.requests)
            hub.post(API + "/egress", {"network": "127.0.0.1", "port": bucket.port})
            first = upload(hub, PNG)
            large = os.urandom(3 * MIB + 17)
            second = upload(hub, large)
            report.check("a bucket takes what its other side finds well signed", first.status == second.status == 201
                         and not bucket.faults, first, second, *bucket.faults)
            report.same("under names that nobody uses twice", sorted(map(len, bucket.objects.values())),
                        sorted([len(PNG), len(large)]))
            got = download(hub, second.json["id"])
            part = download(hub, second.json["id"], Range="bytes=5-9")
            report.check("and gives it back", got.body == large and part.body == large[5:10] and not bucket.faults,
                         got.status, part.status, *bucket.faults)
            path = next(p for p, body in bucket.objects.items() if body == PNG)
            bucket.objects[path] = PNG[:-1] + b"!"
            report.same("bytes that were changed there are not given out", download(hub, first.json["id"]).status, 503)
            del bucket.objects[path]
            report.same("nor are lost ones", download(hub, first.json["id"]).status, 503)
            bucket.broken = True
            down = hub.post(API + "/sandbox/say", {"text": "x", "files": [{"data": b64(b"not now")}]})
            lists = hub.get(API + "/messages?limit=5").json["items"]
            report.check("nothing is accepted whose bytes were not taken", down.status == 503 and not lists, down,
                         lists)
            bucket.broken = False
            again = hub.post(API + "/sandbox/say", {"text": "x", "files": [{"data": b64(b"not now")}]})
            report.check("and all is when it works again", again.status == 201 and
                         files_of(hub, again.json["id"])[0]["state"] == "stored", again)
        wrong = settings[:-1] + ["another secret"]
        with Hub(*wrong) as hub:
            hub.post(API + "/egress", {"network": "127.0.0.1", "port": bucket.port})
            refused = upload(hub, b"signed wrongly")
            report.check("control: a wrong secret is seen by the other side", refused.status == 503 and bucket.faults,
                         refused, *bucket.faults)


def tests_a_bucket(report, hub):
    keeps_in_a_bucket(report)


if __name__ == "__main__":
    Report("media").run([tests_a_folder, tests_a_bucket])
