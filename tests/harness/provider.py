"""provider.py - providers of messages for the harnesses: they speak Twilio's API, WhatsApp's Cloud API and that of the
app SMS Gateway for Android, fail as they are told, and keep a ledger of what they really took.

A `plan(text, number)` says what becomes of the number-th request (from 0) that carries a text: one of FATES, or
("throttle", seconds). Texts are unique, so a text that was taken twice is a double."""
import base64
import email.utils
import hashlib
import hmac
import http.client
import http.server
import json
import socket
import struct
import threading
import time
import urllib.parse

FATES = ("take",                # taken, and said so
         "take_reset",          # taken; the connection is reset instead of an answer
         "take_5xx",            # taken; a 502 with a page of HTML is the answer
         "late",                # taken; the answer comes when nobody waits for it any more
         "drop",                # not taken; the connection is reset
         "fail_5xx")            # not taken; 502
TAKES = FATES[:4]
ACCOUNT, TOKEN = "AC00000000000000000000000000000001", "0123456789abcdef0123456789abcdef"


class Provider(http.server.ThreadingHTTPServer):
    """One far side. `taken` has the times at which each text was taken, `asked` counts the requests of each."""
    daemon_threads = True
    request_queue_size = 256
    kind, settings, calls_back = None, {}, False

    def __init__(self, plan, late_s=40.0):
        super().__init__(("127.0.0.1", 0), Call)
        self.plan, self.late_s, self.lock, self.closing = plan, late_s, threading.Lock(), threading.Event()
        self.taken, self.asked, self.fates, self.known, self.hub, self.hook = {}, {}, {}, {}, None, None
        self.told, self.wants_receipt = set(), lambda text: False
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        """A killed hub resets its connections."""

    def close(self):
        self.closing.set()
        self.shutdown()
        self.server_close()

    def channel(self, hub, name):
        """Make a channel to it in the hub, without limits of its own."""
        hub.post("/api/v1/channels", {"kind": self.kind, "name": name,
                                      "settings": {**self.settings, "base_url": self.url}})
        done = hub.call("PATCH", f"/api/v1/channels/{name}", {
            "per_second": 0, "per_hour": 0, "per_day": 0, "per_contact_hour": 0, "new_per_day": 0, "spacing_ms": 0})
        assert done.status == 200, done
        self.hub, self.hook = hub, hub.get(f"/api/v1/channels/{name}")["hook_path"]

    def read(self, data):
        """A request's (text, key, answer on success)."""
        raise NotImplementedError

    def look_up(self, path):
        """The answer to a GET, as JSON with its status."""
        return 404, {"message": "Not found"}

    def repeats(self, key):
        """The answer to a message that it has by its key, or None where the provider does not look at keys."""

    def receipt(self, text, key, answer):
        """(path, body, headers) of the callback that says that it was delivered."""

    def tell(self, text, key, answer, again):
        """Post the callback; `again` until it is taken."""
        while not self.closing.wait(0.3):
            path, body, headers = self.receipt(text, key, answer)
            try:
                status = self.hub.call("POST", path, body, key=None, headers=headers).status
            except (OSError, AttributeError, http.client.HTTPException):
                status = 0
            if status == 200:
                with self.lock:
                    self.told.add(text)
            if status == 200 or not again:
                return


class Call(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(body, bytes) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def do_GET(self):
        self.answer(*self.server.look_up(self.path))

    def do_POST(self):
        server, data = self.server, self.rfile.read(int(self.headers["Content-Length"]))
        text, key, good = server.read(data)
        with server.lock:
            number = server.asked.get(text, 0)
            fate = server.plan(text, number)
            server.asked[text] = number + 1
            server.fates.setdefault(text, []).append(fate)
            repeat = server.repeats(key)
            if fate in TAKES and repeat is None:
                server.taken.setdefault(text, []).append(time.time())
                server.known[key] = good
        if repeat is not None:
            self.answer(*repeat)
            return
        if fate in TAKES and server.calls_back and server.wants_receipt(text):
            again = server.kind == "whatsapp"       # Meta repeats for a week, Twilio does not
            threading.Thread(target=server.tell, args=(text, key, good, again), daemon=True).start()
        self.follow(fate, good)

    def follow(self, fate, good):
        if fate == "late":
            self.server.closing.wait(self.server.late_s)
        if fate in ("take", "late"):
            self.answer(201, good)
        elif fate in ("take_5xx", "fail_5xx"):
            self.answer(502, b"<html><body><h1>502 Bad Gateway</h1></body></html>")
        elif isinstance(fate, tuple):
            self.answer(429, {"message": "Too many requests"}, [("Retry-After", str(fate[1]))])
        else:
            self.reset()


class Android(Provider):
    """Knows a message by the hub's key: a repeat is answered with 409."""
    kind, settings = "android", {"username": "sms", "password": "secret"}

    def read(self, data):
        message = json.loads(data)
        return message["textMessage"]["text"], message["id"], {"id": message["id"], "state": "Pending"}

    def repeats(self, key):
        return (409, {"message": "known"}) if key in self.known else None

    def look_up(self, path):
        key = path.split("/")[-1].split("?")[0]
        return (200, self.known[key]) if key in self.known else (404, {"message": "unknown"})


class Twilio(Provider):
    """Knows no key; it lists what it has, a second late, and calls back with the hub's own token."""
    kind = "twilio"
    settings = {"account_sid": ACCOUNT, "auth_token": TOKEN, "from": "+15551230002"}
    calls_back, LAG_S = True, 1.0

    def read(self, data):
        form = dict(urllib.parse.parse_qsl(data.decode()))
        sid = "SM" + hashlib.md5(f"{form['Body']} {self.asked.get(form['Body'], 0)}".encode()).hexdigest()
        good = {"sid": sid, "status": "queued", "body": form["Body"], "to": form["To"], "from": form["From"],
                "direction": "outbound-api", "num_media": "0", "error_code": None,
                "date_created": email.utils.format_datetime(email.utils.localtime().astimezone())}
        return form["Body"], (form["StatusCallback"], sid), good

    def look_up(self, path):
        to = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(path).query))["To"]
        with self.lock:
            found = [good for good in self.known.values() if good["to"] == to
                     and self.taken[good["body"]][0] < time.time() - self.LAG_S]
        return 200, {"messages": found[::-1][:50]}

    def receipt(self, text, key, answer):
        url, form = key[0], {"AccountSid": ACCOUNT, "MessageSid": answer["sid"], "MessageStatus": "delivered",
                             "To": answer["to"], "From": answer["from"]}
        return self.signed(url, form)

    def hears(self, text, sender):
        """Somebody writes a text message to the number."""
        form = {"AccountSid": ACCOUNT, "MessageSid": "SM" + hashlib.md5(text.encode()).hexdigest(), "From": sender,
                "To": self.settings["from"], "Body": text, "NumMedia": "0"}
        path, body, headers = self.signed(f"http://127.0.0.1:{self.hub.port}{self.hook}", form)
        return self.hub.call("POST", path, body, key=None, headers=headers)

    @staticmethod
    def signed(url, form):
        """(path, body, headers) of a webhook as Twilio signs it."""
        signed = url + "".join(name + form[name] for name in sorted(form))
        mac = base64.b64encode(hmac.new(TOKEN.encode(), signed.encode(), hashlib.sha1).digest()).decode()
        path = urllib.parse.urlsplit(url)
        return path.path + ("?" + path.query if path.query else ""), urllib.parse.urlencode(form).encode(), {
            "Content-Type": "application/x-www-form-urlencoded", "X-Twilio-Signature": mac}


class WhatsApp(Provider):
    """Knows no key and lists nothing; its statuses carry the hub's own token, when they come."""
    kind = "whatsapp"
    settings = {"phone_number_id": "1234567890", "access_token": "token", "app_secret": TOKEN, "verify_token": "words"}
    calls_back = True

    def read(self, data):
        message = json.loads(data)
        text, to = message["text"]["body"], message["to"]
        identity = f"wamid.{hashlib.md5(f'{text} {self.asked.get(text, 0)}'.encode()).hexdigest()}"
        return text, (message["biz_opaque_callback_data"], identity, to), {
            "messaging_product": "whatsapp", "contacts": [{"input": to, "wa_id": to.lstrip("+")}],
            "messages": [{"id": identity}]}

    def receipt(self, text, key, answer):
        token, identity, to = key
        value = {"messaging_product": "whatsapp", "metadata": {"phone_number_id": "1234567890"}, "statuses": [
            {"id": identity, "status": "delivered", "timestamp": str(int(time.time())),
             "recipient_id": to.lstrip("+"), "biz_opaque_callback_data": token}]}
        data = json.dumps({"object": "whatsapp_business_account", "entry": [
            {"id": "1", "changes": [{"field": "messages", "value": value}]}]}).encode()
        return self.hook, data, {
            "X-Hub-Signature-256": "sha256=" + hmac.new(TOKEN.encode(), data, hashlib.sha256).hexdigest()}
