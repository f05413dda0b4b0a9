"""s3.py - a bucket that believes nothing: it checks the AWS Signature Version 4 of every request by what the
algorithm's description says, not by what any client does."""
import hashlib
import hmac
import http.server
import threading
import urllib.parse


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Bucket:
    """One bucket on a free port of the loopback. `objects` holds what was put; `faults` says what was wrong with
    requests; `broken` makes it answer 500 to everything."""

    def __init__(self, key="AKIDEXAMPLE", secret="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", region="eu-test-1"):
        self.key, self.secret, self.region = key, secret, region
        self.objects, self.faults, self.requests, self.broken = {}, [], [], False
        self.lock = threading.Lock()
        bucket = self

        class Asked(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self):
                bucket.answer(self)

            do_GET = do_DELETE = do_PUT

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Asked)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/bucket/files"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def fault(self, asked, body):
        """What is wrong with the signature, or None."""
        given = asked.headers.get("Authorization", "")
        if not given.startswith("AWS4-HMAC-SHA256 "):
            return f"not signed: {given!r}"
        fields = dict(part.strip().split("=", 1) for part in given[len("AWS4-HMAC-SHA256 "):].split(","))
        names = fields["SignedHeaders"].split(";")
        access, day, region, service, end = fields["Credential"].split("/")
        when, digest = asked.headers.get("x-amz-date", ""), hashlib.sha256(body).hexdigest()
        if (access, region, service, end) != (self.key, self.region, "s3", "aws4_request") or not when.startswith(day):
            return f"another scope: {fields['Credential']} at {when}"
        if asked.headers.get("x-amz-content-sha256") != digest:
            return "x-amz-content-sha256 is not the body's"
        if names != sorted(names) or not {"host", "x-amz-date", "x-amz-content-sha256"} <= set(names):
            return f"signed headers: {names}"
        path, _, query = asked.path.partition("?")
        pairs = sorted(urllib.parse.parse_qsl(query, keep_blank_values=True))
        lines = [asked.command, urllib.parse.quote(urllib.parse.unquote(path), safe="/-_.~"),
                 "&".join(f"{urllib.parse.quote(n, safe='-_.~')}={urllib.parse.quote(v, safe='-_.~')}"
                          for n, v in pairs)]
        lines += [f"{name}:{' '.join(asked.headers.get(name, '').split())}" for name in names]
        lines += ["", ";".join(names), digest]
        scope = f"{day}/{region}/{service}/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", when, scope, hashlib.sha256("\n".join(lines).encode()).hexdigest()])
        key = sign(sign(sign(sign(b"AWS4" + self.secret.encode(), day), region), service), "aws4_request")
        wanted = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        return None if wanted == fields["Signature"] else f"another signature; signed was {lines}"

    def answer(self, asked):
        body = asked.rfile.read(int(asked.headers.get("Content-Length") or 0))
        wrong = self.fault(asked, body)
        status, out = 200, b""
        with self.lock:
            self.requests.append((asked.command, asked.path))
            if wrong:
                self.faults.append(f"{asked.command} {asked.path}: {wrong}")
                status, out = 403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>"
            elif self.broken:
                status, out = 500, b"<Error><Code>InternalError</Code></Error>"
            elif asked.command == "PUT":
                self.objects[asked.path] = body
            elif asked.command == "DELETE":
                self.objects.pop(asked.path, None)
                status = 204
            else:
                status, out = (200, self.objects[asked.path]) if asked.path in self.objects else (404, b"<Error/>")
        asked.send_response(status)
        asked.send_header("Content-Length", str(len(out)))
        asked.end_headers()
        asked.wfile.write(out)
