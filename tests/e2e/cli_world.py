"""cli_world.py - a seeded hub and its command line, piped and on a terminal, for the tests of both."""
import json
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))
sys.path.insert(0, HERE)
import terminal  # noqa: E402
from hub import BINARY, Hub  # noqa: E402

SEEDED = 5000
folder = tempfile.mkdtemp(prefix="message-hub-cli-")
data = os.path.join(folder, "data")
seed = subprocess.run([BINARY, "seed-data", "--messages", str(SEEDED), "--data", data], capture_output=True, text=True,
                      cwd=folder, timeout=120, check=False)
hub = Hub(data=data)


def environment(**more):
    return {"PATH": os.environ["PATH"], "HOME": folder, "MESSAGE_HUB_DATA": data, "TERM": "xterm-256color", "TZ": "UTC",
            **more}


def cli(*words, stdin=None, exit_code=0, **env):
    """Run piped; returns (stdout, stderr)."""
    done = subprocess.run([BINARY, *words], capture_output=True, text=True, timeout=60, input=stdin, cwd=folder,
                          env=environment(**env), check=False)
    assert done.returncode == exit_code, (words, done.returncode, done.stdout[-500:], done.stderr[-500:])
    return done.stdout, done.stderr


def on_terminal(*words, columns=100, exit_code=0, **env):
    """Run on a terminal; returns the lines seen."""
    code, out = terminal.run([BINARY, *words], columns, environment(**env), folder)
    assert code == exit_code, (words, code, out[-500:])
    return terminal.screen(out)


def masked(text):
    """Ids and times are other ones each time, as wide as before."""
    text = re.sub(r"\b([a-z]{3})_[0-9a-z]{13}\b", r"\1_" + "x" * 13, text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "2026-00-00T00:00:00.000Z", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "2026-00-00 00:00:00", text)
    text = re.sub(r"\b\d\d:\d\d:\d\d\b", "00:00:00", text)
    text = re.sub(r"sandbox-in-[0-9a-f]+", "sandbox-in-0", text)
    text = re.sub(r"\bmh_[\w-]{8}", "mh_xxxxxxxx", text)
    return re.sub(r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d\d \d\d:\d\d", "Mon 00 00:00", text)


def golden(name, text):
    path = os.path.join(HERE, "golden", name + ".txt")
    text = "\n".join(line.rstrip() for line in masked(text).split("\n")).rstrip("\n") + "\n"
    if os.environ.get("GOLDEN_WRITE"):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    with open(path, encoding="utf-8") as file:
        wanted = file.read()
    assert text == wanted, f"{name}: expected\n{wanted}\ngot\n{text}"


def verbs():
    """All verbs and commands, from `help`."""
    out = cli("help")[0]
    return [re.split(r"\s{2,}", line[2:])[0].strip() for line in out.split("\n") if re.match(r"  [a-z]", line)]


def one(*words):
    """The JSON that a verb prints."""
    return json.loads(cli(*words, "--json")[0])
