"""The exec channel with the sample program, which is killed at random; and what may not be started at all."""
import json
import os
import random
import shutil
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))
from hub import Cases, Hub, until  # noqa: E402

TRICKY = "h\u00e9llo \U0001f44b \"x\"\n\u2028 \\ {}"


class Run:
    def __init__(self, hub):
        self.hub, self.random = hub, random.Random(7)
        self.inbox, self.outbox = os.path.join(hub.data, "inbox"), os.path.join(hub.data, "outbox")
        self.folder = os.path.join(hub.data, "exec")
        os.mkdir(self.folder, 0o755)
        shutil.copy(os.path.join(HERE, "sample.py"), os.path.join(self.folder, "sample"))
        os.chmod(os.path.join(self.folder, "sample"), 0o755)

    def add(self, name, program, **more):
        settings = {"program": program, "config": {"inbox": self.inbox, "outbox": self.outbox}, **more}
        return self.hub.call("POST", "/api/v1/channels", {"kind": "exec", "name": name, "settings": settings})

    def says(self, *texts):
        with open(self.inbox, "a", encoding="utf-8") as file:
            file.write("".join(json.dumps({"address": "ann", "name": "Ann", "text": text}) + "\n" for text in texts))

    def wrote(self):
        if not os.path.exists(self.outbox):
            return []
        with open(self.outbox, encoding="utf-8") as file:
            return [json.loads(line)["text"] for line in file]

    def stored(self):
        found = self.hub.pages("/api/v1/messages", channel="sample")
        return [m["text"] for m in found if m["direction"] == "in"]

    def send(self, text):
        return self.hub.post("/api/v1/messages/send", {"channel": "sample", "to": "ann", "text": text})["id"]

    def state(self, message, *wanted, wait_s=10):
        return until(lambda: (m := self.hub.get(f"/api/v1/messages/{message}"))["state"] in wanted and m, wait_s)

    def pid(self):
        try:
            with open(self.inbox + ".pid", encoding="utf-8") as file:
                return int(file.read())
        except (OSError, ValueError):
            return None

    def comes_in(self):
        self.says(TRICKY)
        until(lambda: self.stored() == [TRICKY])

    def goes_out(self):
        """At once, though a poll waits for the program's next word."""
        began = time.monotonic()
        sent = self.state(self.send(TRICKY), "sent")
        assert sent["external_id"].startswith("out-") and self.wrote() == [TRICKY], sent
        assert time.monotonic() - began < 3

    def kept(self):
        """One process serves all of that."""
        first = self.pid()
        self.state(self.send("again"), "sent")
        assert self.pid() == first

    def refused(self):
        failed = self.state(self.send("refuse"), "failed")
        assert failed["error_code"] == "unknown" and "Nobody" in failed["error_hint"], failed

    def held(self):
        for text in ("die", "die late"):
            held = self.state(self.send(text), "unknown")
            assert held["error_hint"], held
        assert self.wrote().count("die late") == 1
        self.state(self.send("alive again"), "sent")

    def killed(self):
        """Killed at random while messages come and go: in, none is lost or doubled; out, none is doubled, and what is
        not known is said to be unknown."""
        sent, texts = {}, [f"in {i}" for i in range(60)]
        for i, text in enumerate(texts):
            self.says(text)
            if i % 4 == 0:
                sent[f"out {i}"] = self.send(f"out {i}")
            if i in (11, 29, 47) and self.pid():
                try:
                    os.kill(self.pid(), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(self.random.random() * 0.05)
        until(lambda: set(texts) <= set(self.stored()), wait_s=20)
        assert all(self.stored().count(text) == 1 for text in texts)
        wrote = {text: self.state(message, "sent", "unknown", wait_s=20)["state"] for text, message in sent.items()}
        for text, state in wrote.items():
            assert self.wrote().count(text) == (1 if state == "sent" else self.wrote().count(text)) <= 1, (text, state)
        assert sum(state == "sent" for state in wrote.values()) >= len(wrote) - 3, wrote

    def control(self):
        """A program that does not begin again where the hub stands loses what came meanwhile: the test can tell."""
        inbox = self.inbox + "-control"
        config = {"inbox": inbox, "outbox": self.outbox, "forgets": True}
        with open(inbox, "w", encoding="utf-8") as file:
            file.write(json.dumps({"address": "bob", "text": "before it looked"}) + "\n")
        assert self.add("control", "sample", config=config).status in (200, 201)
        until(lambda: os.path.exists(inbox + ".pid"), wait_s=15)
        time.sleep(1.5)
        with open(inbox, "a", encoding="utf-8") as file:
            file.write(json.dumps({"address": "bob", "text": "after it looked"}) + "\n")

        def texts():
            return [m["text"] for m in self.hub.pages("/api/v1/messages", channel="control")]
        until(lambda: "after it looked" in texts())
        assert "before it looked" not in texts()

    def tested(self):
        assert "Writes to" in json.dumps(self.hub.post("/api/v1/channels/sample/test"))

    def fenced(self):
        """No setting of a channel starts anything but the operator's programs."""
        mark = os.path.join(self.hub.data, "mark")
        body = f"#!/bin/sh\necho started > {mark}\necho '{{\"event\":\"ready\"}}'\nsleep 5\n"
        outside = os.path.join(self.hub.data, "outside")
        for path, mode in ((outside, 0o755), (os.path.join(self.folder, "open"), 0o777),
                           (os.path.join(self.folder, "plain"), 0o644), (os.path.join(self.folder, ".hidden"), 0o755)):
            with open(path, "w", encoding="utf-8") as file:
                file.write(body)
            os.chmod(path, mode)
        os.symlink(outside, os.path.join(self.folder, "link"))
        for i, program in enumerate(("../outside", outside, "/bin/sh", "open", "plain", "link", ".hidden", "..",
                                     "missing", "sample/../../outside")):
            added = self.add(f"fence{i}", program, arguments=["-c", f"echo started > {mark}"])
            assert added.status in (200, 201, 422), added
            if added.status < 300:
                report = self.hub.post(f"/api/v1/channels/fence{i}/test")
                assert report["ok"] is False, (program, report)
        self.add("fence-folder", "sample")
        os.chmod(self.folder, 0o777)
        report = self.hub.post("/api/v1/channels/fence-folder/test")
        os.chmod(self.folder, 0o755)
        assert report["ok"] is False and "may not be started" in json.dumps(report), report
        assert not os.path.exists(mark)
        # the fence holds back what it should, not everything
        os.chmod(os.path.join(self.folder, "open"), 0o755)
        self.hub.call("POST", "/api/v1/channels/fence3/test", {})
        assert os.path.exists(mark)

    def ended(self):
        """With the hub ends its program."""
        pid = self.pid()
        assert self.hub.stop() == 0

        def gone():
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return True
            return False
        until(gone, wait_s=5)


def main():
    cases = Cases("exec peer:")
    hub = Hub()
    run = Run(hub)
    with hub:
        assert run.add("sample", "sample").status in (200, 201)
        cases.run("a message comes in", run.comes_in)
        cases.run("a message goes out while a poll waits", run.goes_out)
        cases.run("one process serves all", run.kept)
        cases.run("a refusal is told", run.refused)
        cases.run("what is not known is held", run.held)
        cases.run("killed at random", run.killed)
        cases.run("a program that forgets is noticed", run.control)
        cases.run("channels test", run.tested)
        cases.run("only the operator's programs are started", run.fenced)
        cases.run("the program ends with the hub", run.ended)
    cases.exit()


if __name__ == "__main__":
    main()
