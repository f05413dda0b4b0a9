"""crabline.py - a server that speaks a provider's API (npm @openclaw/crabline), in a process of its own."""
import json
import os
import subprocess
import tempfile
import urllib.request

from hub import ROOT, until


class Crabline:
    """`kind` is what it serves; `folder` has the package. A context manager; `ready` is what it says of itself."""

    def __init__(self, kind, folder):
        self.kind, self.package = kind, folder
        self.folder = tempfile.TemporaryDirectory(prefix="crabline-")
        self.process, self.ready = None, None

    def __enter__(self):
        ready = os.path.join(self.folder.name, "ready.json")
        program = os.path.join(self.package, "node_modules/@openclaw/crabline/dist/src/bin/crabline.js")
        self.process = subprocess.Popen(
            [os.path.join(ROOT, "tools", "node"), program, "--json", "serve", self.kind, "--ready-file", ready],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder.name)
        until(lambda: os.path.exists(ready) and os.path.getsize(ready) > 0, wait_s=20, every_s=0.1)
        with open(ready, encoding="utf-8") as file:
            self.ready = json.load(file)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(10)
        self.folder.cleanup()

    def inject(self, body):
        """Somebody writes, as the server's own door for tests takes it; returns what it answers."""
        request = urllib.request.Request(self.ready["endpoints"]["adminInboundUrl"], json.dumps(body).encode(), {
            "Content-Type": "application/json", "X-Crabline-Admin-Token": self.ready["adminToken"]})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)
