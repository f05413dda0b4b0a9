"""A Mac with a BlueBubbles server, or one of Photon's, simulated: its routes, envelope, errors, webhooks and habits,
and a ledger of what it really sent. What it does wrong is asked for by words in the text or by flags of the object.

  #error22 #error9   refused, with Apple's number          #lost500  sent, but 500 without data
  #cut               sent, the answer breaks off           #html     sent, the answer is a tunnel's page
  #late:SECONDS      sent at once, answered late           #wrong    sent, the answer names another message
  #never             not sent, 500 without data            #twice    told twice, with and without its tempGuid
  flags: drop (webhooks are lost), late_files (attachments come later), any_only (chats are any;-; alone), chunked,
  bare (participants are left out), private_api, tunnel_down"""
import http.server
import json
import re
import threading
import time
import urllib.parse
import urllib.request
import uuid

HEADLINES = {400: "You've made a bad request! Please check your request params & body",
             401: "You are not authorized to access this resource",
             404: "The requested resource was not found", 500: "The server has encountered an error"}
TYPES = {400: "Validation Error", 401: "Authentication Error", 404: "Database Error", 500: "iMessage Error"}
REACTIONS = ("love", "like", "dislike", "laugh", "emphasize", "question")


class Refused(Exception):
    def __init__(self, status, detail, data=None, headline=None):
        super().__init__(detail)
        self.status, self.detail, self.data, self.headline = status, detail, data, headline


class Mac:
    def __init__(self, photon=False, secret="p&w #%\u00e9"):
        self.photon, self.secret, self.lock = photon, secret, threading.RLock()
        self.messages, self.chats, self.files, self.webhooks = [], {}, {}, []
        self.ledger = []            # what was really sent, in order
        self.requests = []          # (method, path, body) of everything that was asked
        self.in_flight, self.most_in_flight, self.queued = 0, 0, set()
        self.drop = self.late_files = self.any_only = self.chunked = self.bare = self.tunnel_down = False
        self.private_api, self.clock_ms, self.next_row, self.delivered = True, 0, 1, 0
        self.received = threading.Event()
        mac = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def serve(self):
                mac.serve(self)

            do_GET = do_POST = do_DELETE = do_PUT = serve

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    # --- The people around it

    def now_ms(self):
        return int(time.time() * 1000) + self.clock_ms

    def chat(self, guid):
        service, kind, identifier = guid.split(";", 2)
        return self.chats.setdefault(guid, {"originalROWID": len(self.chats) + 1, "guid": guid,
                                            "style": 43 if kind == "+" else 45,
                                            "chatIdentifier": identifier, "isArchived": False, "displayName": "",
                                            "participants": []})

    def store(self, chat, **more):
        with self.lock:
            row = {"originalROWID": self.next_row, "guid": str(uuid.uuid4()).upper(), "text": "",
                   "attributedBody": None, "handle": None, "handleId": 0, "otherHandle": 0, "attachments": [],
                   "subject": None, "error": 0,
                   "dateCreated": self.now_ms(), "dateRead": None, "dateDelivered": None, "isFromMe": False,
                   "itemType": 0, "groupTitle": None, "groupActionType": 0, "balloonBundleId": None,
                   "associatedMessageGuid": None,
                   "associatedMessageType": None, "threadOriginatorGuid": None, "dateEdited": None,
                   "dateRetracted": None, "chats": [self.chat(chat)], **more}
            self.next_row += 1
            self.messages.append(row)
            return row

    def says(self, text, who="+15550100001", chat=None, files=(), **more):
        """Somebody writes to the Mac."""
        kept = []
        for name, kind, data in files:
            guid = "at_0_" + str(uuid.uuid4()).upper()
            self.files[guid] = data
            kept.append({"originalROWID": 1, "guid": guid, "uti": "public.data", "mimeType": kind, "transferName": name,
                         "totalBytes": len(data), "height": 0, "width": 0, "metadata": None})
        row = self.store(chat or f"any;-;{who}", text="\ufffc" * len(kept) + text, attachments=kept,
                         handle={"originalROWID": 1, "address": who, "service": "iMessage"}, handleId=1,
                         **{"partCount": len(kept) + bool(text), **more})
        row["late"] = bool(kept) and self.late_files
        self.tell("new-message", row)
        return row

    def told(self, row, webhook):
        """A message as a webhook or a query shows it."""
        shown = {name: value for name, value in row.items() if name not in ("late", "tempGuid")}
        if row.get("late"):
            shown["attachments"] = []
        if webhook:
            shown["text"] = row["text"].replace("\ufffc", "").strip()
        if self.bare:
            shown["chats"] = [{**chat, "participants": []} for chat in row["chats"]]
        return shown

    def tell(self, event, row, **more):
        shown = {**self.told(row, True), **more}
        if event == "updated-message":
            del shown["chats"]
        self.post(event, shown)

    def post(self, event, data):
        body = json.dumps({"type": event, "data": data}).encode()
        if self.drop:
            return
        for hook in list(self.webhooks):
            if "*" in hook["events"] or event in hook["events"]:
                threading.Thread(target=self.deliver, args=(hook["url"], body), daemon=True).start()

    def deliver(self, url, body):
        try:
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
            urllib.request.urlopen(request, timeout=10).read()
            with self.lock:
                self.delivered += 1
        except OSError:
            pass                    # no retry, no log: as the server does

    def happens(self, guid, **changes):
        """Something becomes of a message: dateDelivered, dateRead, dateEdited, dateRetracted, error."""
        row = self.find(guid)
        row.update(changes)
        self.tell("message-send-error" if changes.get("error") else "updated-message", row)

    def find(self, guid):
        for row in self.messages:
            if row["guid"] == guid:
                return row
        raise Refused(404, "Message does not exist!")

    # --- HTTP

    def serve(self, handler):
        url = urllib.parse.urlsplit(handler.path)
        raw = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        query = dict(urllib.parse.parse_qsl(url.query))
        path = [urllib.parse.unquote(part) for part in url.path.split("/")[1:]]
        try:
            if self.tunnel_down:
                return self.answer(handler, 502, b"<html>Bad gateway</html>", "text/html")
            self.admit(handler, query)
            if path[:2] != ["api", "v1"]:
                return self.answer(handler, 404, b"Not Found", "text/plain")
            body = self.body_of(handler, raw)
            self.requests.append((handler.command, "/".join(path[2:]), body))
            found = self.route(handler.command, path[2:], body, query)
            if found is None:
                return self.answer(handler, 404, b"Not Found", "text/plain")
            if isinstance(found, bytes):
                return self.answer(handler, 200, found, "application/octet-stream")
            if isinstance(found, str):
                return self.spoil(handler, found)
            self.envelope(handler, 200, *found)
        except Refused as refused:
            self.envelope(handler, refused.status, refused.headline or HEADLINES[refused.status], refused.data,
                          {"type": TYPES[refused.status], "message": refused.detail})

    def admit(self, handler, query):
        if self.photon:
            if handler.headers.get("X-API-Key") != self.secret:
                raise Refused(401, "Unauthorized")
            return
        given = next((query[name] for name in ("guid", "password", "token") if name in query), "")
        if not given.strip():
            raise Refused(401, "Missing server password!")
        if given.strip() != self.secret.strip():
            raise Refused(401, "Unauthorized")

    @staticmethod
    def body_of(handler, raw):
        kind = handler.headers.get("Content-Type") or ""
        if "multipart/form-data" not in kind:
            return json.loads(raw) if raw.strip() else {}
        mark = b"--" + kind.split("boundary=")[1].strip('"').encode()
        fields = {}
        for part in raw.split(mark)[1:-1]:
            head, _, data = part.strip(b"\r\n").partition(b"\r\n\r\n") if b"\r\n\r\n" in part.strip(b"\r\n") \
                else (part.strip(b"\r\n"), b"", b"")
            text = head.decode()
            name = re.search(r'name="([^"]*)"', text).group(1)
            fields[name] = data if "filename=" in text else data.decode()
        return fields

    def envelope(self, handler, status, message, data=None, error=None):
        body = {"status": status, "message": message, "data": data}
        if error:
            body["error"] = error
        self.answer(handler, status, json.dumps(body).encode(), "application/json; charset=utf-8")

    def answer(self, handler, status, body, kind):
        try:
            handler.send_response(status)
            handler.send_header("Content-Type", kind)
            if self.chunked:
                handler.send_header("Transfer-Encoding", "chunked")
                handler.end_headers()
                for at in range(0, len(body), 100):
                    piece = body[at:at + 100]
                    handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                handler.wfile.write(b"0\r\n\r\n")
                return
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)
        except OSError:
            handler.close_connection = True

    def spoil(self, handler, how):
        if how == "#html":
            return self.answer(handler, 502, b"<html>Bad gateway</html>", "text/html")
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", "4000")
        handler.end_headers()
        handler.wfile.write(b'{"status":200,"mess')
        handler.close_connection = True
        return None

    # --- Routes

    def need_private_api(self):
        if not self.private_api:
            raise Refused(500, "iMessage Private API is not enabled!")

    def route(self, method, path, body, query):
        key = (method, *path[:1]) if len(path) == 1 else (method, path[0], *[p for p in path[1:2]])
        if path == ["ping"]:
            return "Ping received!", "pong"
        if path == ["server", "info"]:
            return "Success", {"os_version": "26.1", "server_version": "1.9.9", "private_api": self.private_api,
                               "helper_connected": self.private_api, "proxy_service": "dynamic-dns",
                               "detected_icloud": "a@b.test", "detected_imessage": "a@b.test",
                               "macos_time_sync": 0.02, "local_ipv4s": [], "local_ipv6s": [],
                               "computer_id": "mac"}
        if path[0] == "webhook":
            return self.route_webhook(method, path, body)
        if key == ("POST", "message", "text"):
            return self.send(body, body.get("message"))
        if key == ("POST", "message", "attachment"):
            return self.send_file(body)
        if key == ("POST", "message", "query"):
            return "Success", self.query(body)
        if key == ("POST", "message", "react"):
            return self.react(body)
        if path[0] == "message" and len(path) == 2 and method == "GET":
            row = self.find(path[1])
            row["late"] = False
            return "Success", self.told(row, False)
        if path[0] == "message" and len(path) == 3 and method == "POST":
            return self.change(path[1], path[2], body)
        if key == ("POST", "chat", "new"):
            return self.new_chat(body)
        if key == ("POST", "chat", "query"):
            return "Success", list(self.chats.values())
        if path[0] == "chat":
            return self.on_chat(method, path)
        if path[0] == "attachment":
            if path[1] not in self.files:
                raise Refused(404, "Attachment does not exist!")
            return self.files[path[1]] if path[2:] == ["download"] else ("Success", {"guid": path[1]})
        if path == ["handle", "availability", "imessage"]:
            self.need_private_api()
            return "Success", {"available": "@" in query.get("address", "") or query.get("address", "").startswith("+")}
        return None

    def route_webhook(self, method, path, body):
        if method == "GET":
            return "Success", self.webhooks
        if method == "DELETE":
            if not any(str(hook["id"]) == path[1] for hook in self.webhooks):
                raise Refused(404, "Webhook does not exist!")
            self.webhooks = [hook for hook in self.webhooks if str(hook["id"]) != path[1]]
            return "Success", None
        if not body["url"].startswith("http"):
            raise Refused(400, "Webhook URL must include an HTTP scheme!")
        for hook in self.webhooks:
            if hook["url"] == body["url"]:
                return "Success", hook
        self.webhooks.append({"id": len(self.webhooks) + 1, "url": body["url"], "events": body["events"], "created": 0})
        return "Success", self.webhooks[-1]

    def on_chat(self, method, path):
        if path[1] not in self.chats or (self.any_only and not path[1].startswith("any;")):
            raise Refused(404, "Chat does not exist!")
        if len(path) == 2:
            return "Success", self.chats[path[1]]
        self.need_private_api()
        with self.lock:
            self.ledger.append({"what": path[2], "chat": path[1], "method": method})
        return "Success", None

    def query(self, body):
        after, before = body.get("after", 0), body.get("before", 1 << 62)
        rows = [row for row in self.messages if after <= row["dateCreated"] <= before]
        if body.get("chatGuid"):
            rows = [row for row in rows if row["chats"][0]["guid"] == body["chatGuid"]]
        for condition in body.get("where") or []:
            assert condition["statement"] == "message.associated_message_guid LIKE :guid", condition
            wanted = condition["args"]["guid"].lstrip("%")
            rows = [row for row in rows if (row["associatedMessageGuid"] or "").endswith(wanted)]
        rows.sort(key=lambda row: (row["dateCreated"], row["originalROWID"]),
                  reverse=body.get("sort", "DESC") == "DESC")
        offset = body.get("offset", 0)
        shown = [self.told(row, False) for row in rows[offset:offset + min(body.get("limit", 100), 1000)]]
        wanted = [name.lower() for name in body.get("with") or []]
        for row in shown:
            if not {"chat", "chats"} & set(wanted):
                row.pop("chats")
            if not {"attachment", "attachments"} & set(wanted):
                row["attachments"] = []
        return shown

    # --- Sending

    def send(self, body, text):
        if text is None:
            raise Refused(400, "The message field is required")
        if body["chatGuid"] not in self.chats:
            raise Refused(500, "Chat does not exist!")
        if body.get("method") != "private-api" and not body.get("tempGuid"):
            raise Refused(400, "A 'tempGuid' is required when sending via AppleScript")
        if body.get("selectedMessageGuid"):
            self.need_private_api()
        return self.transmit(body, body["chatGuid"], text, [])

    def send_file(self, body):
        if not isinstance(body.get("attachment"), bytes) or not body.get("name"):
            raise Refused(400, "An attachment is required")
        guid = "at_0_" + str(uuid.uuid4()).upper()
        self.files[guid] = body["attachment"]
        return self.transmit(body, body["chatGuid"], "", [{"guid": guid, "transferName": body["name"],
                                                           "totalBytes": len(body["attachment"])}])

    def new_chat(self, body):
        if len(body["addresses"]) > 1 and not self.private_api:
            raise Refused(500, "Cannot create group chats on macOS Big Sur or newer!")
        if not body.get("message") and not self.private_api:
            raise Refused(400, "A message is required")
        guid = f"any;-;{body['addresses'][0]}"
        chat = self.chat(guid)
        if body.get("message"):
            done = self.transmit(body, guid, body["message"], [])
            if isinstance(done, str):
                return done
        return "Success", chat

    def transmit(self, body, chat, text, files):
        temp = body.get("tempGuid") or ""
        with self.lock:
            if temp and temp in self.queued:
                raise Refused(400, f"Message is already queued to be sent! (Temp GUID: {temp})")
            self.queued.add(temp)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return self.transmit_one(body, chat, text, files, temp)
        finally:
            with self.lock:
                self.in_flight -= 1
                self.queued.discard(temp)

    def transmit_one(self, body, chat, text, files, temp):
        failed = re.search(r"#error(\d+)", text)
        if "#never" in text:
            raise Refused(500, "Transaction timeout", headline="Message Send Error")
        row = self.store(chat, text=text, isFromMe=True, attachments=files, tempGuid=temp,
                         threadOriginatorGuid=body.get("selectedMessageGuid"))
        if failed:
            row["error"] = int(failed.group(1))
            raise Refused(500, "failed", self.told(row, False), "Message Send Error")
        with self.lock:
            self.ledger.append({"what": "send", "chat": chat, "text": text, "temp": temp, "guid": row["guid"],
                                "files": [self.files[f["guid"]] for f in files],
                                "reply": body.get("selectedMessageGuid")})
        self.received.set()
        if "#twice" in text:
            self.tell("new-message", row)
        self.tell("new-message", row, tempGuid=temp)
        late = re.search(r"#late:([\d.]+)", text)
        if late:
            time.sleep(float(late.group(1)))
        if "#lost500" in text:
            raise Refused(500, "Transaction timeout", headline="Message Send Error")
        for word in ("#cut", "#html"):
            if word in text:
                return word
        shown = {**self.told(row, False), "tempGuid": temp}
        if "#wrong" in text:
            shown = {**shown, "guid": "FFFFFFFF-0000-4000-8000-000000000000", "text": "another message"}
        return "Message sent!", shown

    def react(self, body):
        self.need_private_api()
        if body["reaction"].lstrip("-") not in REACTIONS:
            raise Refused(400, "Invalid reaction")
        self.find(body["selectedMessageGuid"])
        row = self.store(body["chatGuid"], text="Reacted", isFromMe=True, associatedMessageType=body["reaction"],
                         associatedMessageGuid="p:0/" + body["selectedMessageGuid"])
        self.ledger.append({"what": "react", "guid": body["selectedMessageGuid"], "reaction": body["reaction"]})
        return "Reaction sent!", self.told(row, False)

    def change(self, guid, what, body):
        self.need_private_api()
        row = self.find(guid)
        if what == "edit":
            if not body.get("backwardsCompatibilityMessage"):
                raise Refused(400, "backwardsCompatibilityMessage is required")
            row.update(text=body["editedMessage"], dateEdited=self.now_ms())
        elif what == "unsend":
            row.update(text="", dateRetracted=self.now_ms())
        else:
            return None
        self.ledger.append({"what": what, "guid": guid, "text": row["text"]})
        self.tell("updated-message", row)
        return "Success", self.told(row, False)

    def sent(self, text):
        """How often a text really went out."""
        with self.lock:
            return len([entry for entry in self.ledger if entry["what"] == "send" and entry["text"] == text])
