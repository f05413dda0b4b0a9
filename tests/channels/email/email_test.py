"""The hub against Dovecot and npm smtp-server, with what it writes read by npm mailparser (peers.py)."""
import base64
import json
import os
import subprocess
import sys
import time

from peers import HERE, PASSWORD, ROOT, USER, Dovecot, Smtp

sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))
from hub import Cases, Hub, until  # noqa: E402

DRIVE = os.path.join(os.path.dirname(os.environ.get("HUB_BINARY", os.path.join(ROOT, "build-test", "message-hub"))),
                     "tests", "contract", "drive")
EACH_KIB_MAX, HELD = 160, 60
BOUNCE = """Return-Path: <>
From: Mail Delivery <MAILER-DAEMON@peer.test>
To: help@hub.test
Subject: Undelivered
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b

It failed.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.peer.test

Final-Recipient: rfc822; {to}
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user

--b
Content-Type: message/rfc822

{mail}
--b--
"""


def letter(number, text="hi", more=""):
    return (f"From: Anna <anna@peer.test>\nTo: {USER}\nMessage-ID: <m{number}@peer.test>\nSubject: Order 7\n"
            f"{more}\n{text}\n")


def drive(dovecot, verb, count=1, cursor="-", cert=None, **settings):
    """Lines of tests/contract/drive.c, or its complaint."""
    given = {"address": USER, "password": PASSWORD, "imap_url": f"imaps://localhost:{dovecot.port}", **settings}
    done = subprocess.run([DRIVE, "email", verb, str(count), cursor] + [f"{k}={v}" for k, v in given.items() if v],
                          env={**os.environ, "SSL_CERT_FILE": cert or dovecot.certificate.cert}, capture_output=True,
                          text=True, timeout=60, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return lines if done.returncode == 0 else done.stderr


def polling(dovecot, smtp):
    start = drive(dovecot, "poll")[-1]["cursor"]
    dovecot.put(letter(1, "one"), letter(2, "zwölf Boxkämpfer", "In-Reply-To: <x@hub.test>\n"),
                "Message-ID: <nobody@peer.test>\n\nno sender\n", letter(3, "three", "Precedence: bulk\n"))
    lines = drive(dovecot, "poll", 2, start)
    events = [line for line in lines if "event" in line]
    assert [(e["event"], e["external_id"]) for e in events] == [
        ("message", "m1@peer.test"), ("message", "m2@peer.test"), ("ignored", None),
        ("message", "m3@peer.test")], events
    assert events[1]["text"] == "zwölf Boxkämpfer" and events[1]["reply_to"] == "x@hub.test", events[1]
    assert events[0]["metadata"]["subject"] == "Order 7" and events[3]["is_automatic"], events
    assert lines[-1]["cursor"] == lines[-2]["cursor"], "an idle round moved the cursor"
    assert dovecot.seen() == 0, "reading marked a mail as read"


def starttls(dovecot, smtp):
    assert isinstance(drive(dovecot, "poll", imap_url=f"imap://localhost:{dovecot.plain}"), list)
    report = drive(dovecot, "probe", smtp_url=f"smtp://localhost:{smtp.port}", sent_folder="Sent")[0]
    assert report["idle"] and report["sent_folder"] and report["can_send"], report


def wrong(dovecot, smtp):
    said = drive(dovecot, "probe", password="wrong")
    assert "password" in said, said
    said = drive(dovecot, "probe", smtp_url=f"smtp://localhost:{smtp.port}", username="nobody")
    assert "535" in said and "app password" in said, said
    said = drive(dovecot, "probe", cert="/dev/null")
    assert "certificate" in said, said
    said = drive(dovecot, "probe", imap_url=f"imaps://wrong.localhost:{dovecot.port}")
    assert "certificate" in said or "resolved" in said, said
    said = drive(dovecot, "probe", imap_url="imaps://localhost:1")
    assert "refused" in said, said


def renumbered(dovecot, smtp):
    """The folder is numbered anew: all is read again, and what was there before is history."""
    start = drive(dovecot, "poll")[-1]["cursor"]
    dovecot.put(letter(20, "before"))
    time.sleep(1.1)
    dovecot.put(letter(22, "last seen"))
    cursor = drive(dovecot, "poll", 1, start)[-1]["cursor"].split()
    dovecot.put(letter(21, "meanwhile"))
    cursor[3] = str(int(cursor[3]) - 1)
    events = {e["external_id"]: e for e in drive(dovecot, "poll", 1, " ".join(cursor)) if "event" in e}
    assert events["m20@peer.test"]["is_history"] and not events["m21@peer.test"]["is_history"], events


def memory(dovecot, smtp):
    """Idle sessions over TLS, each kept by a channel of its own."""
    held = drive(dovecot, "hold", HELD)
    assert isinstance(held, list), held
    print(f"# {HELD} idle mailboxes over TLS: {held[0]['each_kib']} KiB each")
    assert 5 < held[0]["each_kib"] < EACH_KIB_MAX, held


def send(hub, channel, to, text="hello", **more):
    return hub.post("/api/v1/messages/send", {"channel": channel, "to": to, "text": text, **more})["id"]


def state(hub, message, *states):
    return until(lambda: (m := hub.get(f"/api/v1/messages/{message}"))["state"] in states and m, wait_s=15)


def sends(hub, smtp):
    text = "Grüße & <b>\n.\n..\nFrom here\n\n" + "long line " * 200 + "\n👋🏽"
    message = send(hub, "mail", "anna@peer.test", text, metadata={"subject": "Größe: 100 €"})
    state(hub, message, "sent")
    mail, = smtp.mails(to="anna@peer.test")
    assert mail["subject"] == "Größe: 100 €" and mail["text"].rstrip("\n") == text, mail
    assert mail["sender"] == {"address": USER, "name": "Help, \"Desk\""}, mail["sender"]
    assert mail["secure"] and mail["from"] == USER and mail["ehlo"] == "hub.test" and mail["auto"] is None, mail
    assert hub.get(f"/api/v1/messages/{message}")["external_id"] == mail["id"].strip("<>")
    raw = base64.b64decode(mail["raw"])
    assert raw.isascii() and max(map(len, raw.split(b"\r\n"))) < 998 and raw.count(b"\n") == raw.count(b"\r\n")


def refusals(hub, smtp):
    ids = {name: send(hub, "mail", f"{name}@peer.test") for name in ("unknown", "spam", "later", "reset", "gone")}
    failed = state(hub, ids["unknown"], "failed")
    assert failed["error_code"] == "550 5.1.1" and "no such mailbox" in failed["error_hint"], failed
    assert "SPF" in state(hub, ids["spam"], "failed")["error_hint"]
    assert state(hub, ids["reset"], "unknown")
    assert len(smtp.mails(to="reset@peer.test")) == 1, "an unsure mail was sent again"
    for name in ("later", "gone"):
        assert hub.get(f"/api/v1/messages/{ids[name]}")["state"] in ("queued", "sending"), name


def inbound(hub, text):
    found = [m for m in hub.get("/api/v1/messages", limit=200)["items"] if m["text"] == text]
    return found and found[0]


def receives(hub, dovecot, smtp):
    """In by IDLE, answered in the thread."""
    def first_look():       # a mailbox begins with what comes after it
        first_look.number += 1
        dovecot.put(letter(first_look.number, "first"))
        return inbound(hub, "first")
    first_look.number = 1000
    until(first_look, wait_s=20, every_s=0.5)
    start = time.monotonic()
    dovecot.put(letter(50, "where is my order?", "References: <m40@peer.test>\n"))
    message = until(lambda: inbound(hub, "where is my order?"), wait_s=15)
    print(f"# a mail was stored {time.monotonic() - start:.2f} s after it arrived")
    assert message["type"] == "email" and message["external_id"] == "m50@peer.test", message
    answer = send(hub, "mail", "anna@peer.test", "On its way.")
    state(hub, answer, "sent")
    mail = smtp.mails(text="On its way.\n")[0]
    assert mail["subject"] == "Re: Order 7" and mail["inReplyTo"] == "<m50@peer.test>", mail
    assert mail["references"] == ["<m40@peer.test>", "<m50@peer.test>"], mail["references"]
    dovecot.put(letter(51, "thanks", f"In-Reply-To: {mail['id']}\n"))
    until(lambda: inbound(hub, "thanks"), wait_s=15)


def bounces(hub, dovecot, smtp):
    message = send(hub, "mail", "bounced@peer.test", "are you there?")
    state(hub, message, "sent")
    mail = base64.b64decode(smtp.mails(to="bounced@peer.test")[0]["raw"]).decode()
    dovecot.put(BOUNCE.format(to="bounced@peer.test", mail=mail))
    failed = state(hub, message, "failed")
    assert failed["error_code"] == "5.1.1" and "no such user" in failed["error_hint"], failed


def stops(hub, dovecot):
    """A server that comes back goes on where it was, and the hub ends quickly while it waits."""
    dovecot.stop()
    time.sleep(1)
    dovecot.start()
    dovecot.put(letter(60, "after the pause"))
    until(lambda: inbound(hub, "after the pause"), wait_s=20)
    time.sleep(0.5)
    start = time.monotonic()
    assert hub.stop() == 0
    assert time.monotonic() - start < 5, time.monotonic() - start


def main():
    cases = Cases("channels/email:")
    with Dovecot() as dovecot, Smtp(dovecot.certificate) as smtp:
        for name, function in (("what is new is fetched in order", polling), ("STARTTLS on both servers", starttls),
                               ("what is wrong is named", wrong), ("folders numbered anew", renumbered),
                               ("idle sessions are small", memory)):
            cases.run(name, function, dovecot, smtp)
        with Hub(env={"SSL_CERT_FILE": dovecot.certificate.cert}) as hub:
            hub.post("/api/v1/egress", {"network": "127.0.0.1/32"})
            hub.post("/api/v1/egress", {"network": "::1/128"})
            hub.post("/api/v1/channels", {"kind": "email", "name": "mail", "settings": {
                "address": USER, "name": "Help, \"Desk\"", "password": PASSWORD, "sent_folder": "Sent",
                "smtp_url": f"smtp://localhost:{smtp.port}", "imap_url": f"imaps://localhost:{dovecot.port}"}})
            cases.run("a mail arrives as it was written", sends, hub, smtp)
            cases.run("refusals say what to do", refusals, hub, smtp)
            cases.run("mail comes in and is answered in its thread", receives, hub, dovecot, smtp)
            cases.run("a bounce fails the mail it is about", bounces, hub, dovecot, smtp)
            cases.run("a restart of the server, a stop of the hub", stops, hub, dovecot)
    cases.exit()


if __name__ == "__main__":
    main()
