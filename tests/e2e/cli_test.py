"""The command line as a user meets it: tables, pipes, JSON, changes, errors, keys, profiles.

What is printed is compared with golden/*.txt, ids and times masked; GOLDEN_WRITE=1 writes them anew."""
import datetime
import http.server
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import zoneinfo

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cli_world import BINARY, SEEDED, cli, data, environment, folder, golden, hub, on_terminal, seed  # noqa: E402
from cli_world import verbs  # noqa: E402
import terminal  # noqa: E402
from hub import Cases  # noqa: E402

EVIL = "evil \x1b[31mred\x07 \u202egnp.exe\u2066 \x9b2J"
TEXTS = [
    ("+15550101", EVIL),
    ("+15550102", "日本語のとても長いテキストです。これは百文字を超えるまで続きます、そして切られなければなりません。"),
    ("+15550103", "👨‍👩‍👧 family, 🇩🇪 flag, ❤️ heart, 👍🏽 thumb"),
    ("+15550104", "two\nlines\tand a tab"),
    ("+15550105", "A text that is much longer than what fits into the last column of a table that is a hundred wide."),
]

cases = Cases("cli")


# --- tables -------------------------------------------------------------------------------------------------------

def seeds_quietly():
    assert seed.returncode == 0, seed.stderr
    assert re.fullmatch(r"5000 messages in \d+ conversations on \d+ channels, \d+ messages/s\n"
                        r"one-time admin key: mh_\S+\n", seed.stdout), seed.stdout
    assert seed.stderr == "", seed.stderr


def say():
    for number, text in TEXTS:
        out, _ = cli("sandbox", "say", "--as", number, "-", stdin=text)
        assert re.search(r"^id\tmsg_", out, re.M) and f"from\t{number}" in out, out


def fits_100_columns():
    """No verb that lists prints a line wider than the terminal."""
    listed = 0
    for verb in verbs():
        page = cli("help", *verb.split())[0]
        if "--jsonl" not in page or "--stdin" in page or verb.startswith("events tail"):
            continue
        for columns in (100, 80, 40):
            lines = on_terminal(*verb.split(), columns=columns)
            assert all(terminal.width(line) <= columns for line in lines), (verb, columns, lines)
        listed += 1
    assert listed >= 10, listed
    for verb in ("messages", "conversations", "channels", "contacts"):
        lines = on_terminal(verb)
        assert len(lines) > 3, (verb, lines)


def message_tables():
    golden("messages-100", "\n".join(on_terminal("messages", "--limit", "5")))
    golden("messages-60", "\n".join(on_terminal("messages", "--limit", "5", columns=60)))
    golden("messages-piped", cli("messages", "--limit", "5")[0])
    golden("channels-100", "\n".join(on_terminal("channels")))
    assert re.match(r"ID +NAME +PREFIX +SCOPES +USED +EXPIRES +REVOKED$", on_terminal("keys", columns=140)[0])
    one = json.loads(cli("messages", "--limit", "2", "--json=id")[0])[1]["id"]
    golden("message-get", "\n".join(on_terminal("messages", "get", one)))


def columns_stand_below_their_titles():
    """Also behind characters about whose width terminals disagree."""
    lines = on_terminal("messages", "--limit", "5")
    at = lines[0].index("TEXT")
    begin = [terminal.from_column(line, at) for line in lines[1:6]]
    assert [text[:4] for text in begin] == ["A te", "two\\", TEXTS[2][1][:4], "日本語の", "evil"], begin
    contact = json.loads(cli("contacts", "--limit", "1", "--json=id")[0])[0]["id"]
    cli("contacts", "update", contact, "--name", "👩‍🚀 Zoë 宇宙")
    lines = on_terminal("contacts", "--limit", "3")
    at = lines[0].index("ADDRESS")
    assert all(terminal.from_column(line, at).startswith("+1555") for line in lines[1:4]), lines


def neutralises_control_characters():
    for words in (["messages"], ["conversations"], ["sync"], ["messages", "--json"], ["messages", "--jsonl"]):
        out = cli(*words, "--limit", "5")[0]
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", out), repr(out)
    out = cli("messages", "--limit", "5")[0]
    assert r"evil \x1b[31mred\x07 \u202egnp.exe\u2066 \x9b2J" in out, out
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", out)
    for line in out.rstrip("\n").split("\n"):
        assert line.count("\t") == 5, line
    texts = [item["text"] for item in json.loads(cli("messages", "--limit", "5", "--json")[0])]
    assert EVIL in texts, texts        # JSON is for programs: the text is exact
    evil = next(item["id"] for item in json.loads(cli("messages", "--limit", "5", "--json")[0]) if item["text"] == EVIL)
    on_terminal("messages", "get", evil)      # terminal.screen() refuses what controls a terminal
    on_terminal("messages", "--limit", "5")


def times_are_local_on_a_terminal():
    message = json.loads(cli("messages", "--limit", "1", "--json")[0])[0]
    then = datetime.datetime.fromisoformat(message["received_at"].replace("Z", "+00:00"))
    for zone in ("America/New_York", "Asia/Kolkata"):
        local = then.astimezone(zoneinfo.ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S")
        lines = on_terminal("messages", "get", message["id"], TZ=zone)
        assert any(re.fullmatch(rf"received_at +{local}", line) for line in lines), (local, lines)
    assert message["received_at"] in cli("messages", "--limit", "1", TZ="Asia/Kolkata")[0]
    lines = on_terminal("messages", "--since", "2000-01-01T00:00:00Z", "--until",
                        (then - datetime.timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%SZ"), "--limit", "3")
    assert re.search(r" ([A-Z][a-z]{2} \d\d \d\d:\d\d|\d{4}-\d\d-\d\d) ", lines[1]), lines


def empty_lists():
    assert on_terminal("messages", "--tag", "nobody-has-this") == ["Nothing here.", ""]
    assert on_terminal("rules", "test", "--text", "no rule says a word to this") == ["Nothing here.", ""]
    assert cli("rules", "test", "--text", "no rule says a word to this")[0] == ""
    assert "ASSIGNED" in on_terminal("conversations")[0]        # empty columns go when the row does not fit
    assert "ASSIGNED" not in on_terminal("conversations", columns=60)[0]
    assert cli("messages", "--tag", "nobody-has-this") == ("", "")
    assert json.loads(cli("messages", "--tag", "nobody-has-this", "--json")[0]) == []
    assert cli("messages", "--tag", "nobody-has-this", "--jsonl")[0] == ""


def colours():
    """States that deserve attention are coloured on a terminal, unless NO_COLOR or a plain terminal forbids it."""
    command = [BINARY, "messages", "--state", "failed", "--limit", "2"]
    assert b"\x1b[31mfailed\x1b[0m" in terminal.run(command, 100, environment(), folder)[1]
    for env in (environment(NO_COLOR="1"), environment(TERM="dumb")):
        out = terminal.run(command, 100, env, folder)[1]
        assert b"failed" in out and b"\x1b" not in out, out
    assert "\x1b" not in cli(*command[1:])[0]


def json_forms():
    listed = json.loads(cli("messages", "--limit", "3", "--json")[0])
    assert len(listed) == 3 and {"id", "text", "received_at", "state", "direction", "conversation_id"} <= set(listed[0])
    some = json.loads(cli("messages", "--limit", "3", "--json=id,text")[0])
    assert some == [{"id": item["id"], "text": item["text"]} for item in listed]
    lines = cli("messages", "--limit", "3", "--jsonl")[0].splitlines()
    assert [json.loads(line) for line in lines] == listed
    lines = cli("messages", "--limit", "3", "--json=id", "--jsonl")[0].splitlines()
    assert [json.loads(line) for line in lines] == [{"id": item["id"]} for item in listed]
    assert json.loads(cli("stats", "--json=queue.send.ready")[0]) == {"queue.send.ready": 0}
    assert json.loads(cli("messages", "get", listed[0]["id"], "--json")[0])["id"] == listed[0]["id"]
    assert json.loads(cli("version", "--json")[0])["schema"] >= 1


def several_pages():
    ids = cli("messages", "--limit", "1234")[0].splitlines()
    assert len(ids) == 1234 and len({line.split("\t")[0] for line in ids}) == 1234
    assert len(json.loads(cli("messages", "--limit", "1234", "--json=id")[0])) == 1234
    assert len(cli("messages", "--limit", "100000", "--jsonl")[0].splitlines()) == SEEDED + len(TEXTS)
    lines = on_terminal("messages", "--limit", "600", columns=100)
    assert len(lines) == 602 and sum(line.startswith("ID ") for line in lines) == 1, len(lines)
    assert len(cli("messages")[0].splitlines()) == 50
    assert len(cli("sync", "--limit", "700")[0].splitlines()) == 700


def filters():
    def directions(*words):
        return {json.loads(line)["direction"] for line in cli("messages", *words, "--jsonl")[0].splitlines()}
    assert directions("--direction", "in") == {"in"} and directions("--direction=out") == {"out"}
    types = {json.loads(line)["type"] for line in cli("messages", "--type", "sms", "--jsonl")[0].splitlines()}
    assert types == {"sms"}, types
    device = json.loads(cli("devices", "register", "Anna's phone", "--platform", "android", "--json")[0])["id"]
    assert cli("messages", "--device", device)[0] == ""
    assert "Anna's phone\tandroid" in cli("devices")[0]
    golden("devices-100", "\n".join(on_terminal("devices")))
    golden("devices-piped", cli("devices")[0])
    found = cli("messages", "--q", "hundred wide", "--json=text")[0]
    assert [item["text"] for item in json.loads(found)] == [TEXTS[4][1]], found


# --- changing -----------------------------------------------------------------------------------------------------

def unread(count):
    lines = cli("messages", "--direction", "in", "--unread", "--limit", str(count))[0].splitlines()
    assert len(lines) == count
    return [line.split("\t")[0] for line in lines]


def mark_read():
    one, two, three = unread(3)
    out, _ = cli("mark-read", one)
    golden("mark-read-piped", out)
    golden("mark-read-json", cli("mark-read", one, "--json=id,read_at")[0])
    out, said = cli("mark-read", two, three, "msg_0123456789abc", exit_code=6)
    assert "2 done, 1 failed\n" in said and "hint: " in said, said
    assert not {one, two, three} & set(unread(3))
    four = unread(1)[0]
    assert cli("mark-read", four, "--dry-run")[0] == f"PUT /api/v1/messages/{four}/read {{}}\n"
    assert cli("messages", "read", four, "--dry-run")[0] and unread(1) == [four], "a dry run changed something"


def bulk_by_stdin():
    table = cli("messages", "--direction", "in", "--unread", "--limit", "5")[0]
    out, said = cli("mark-read", "--stdin", "--json=id", stdin=table)
    assert said == "5 done, 0 failed\n" and len(out.splitlines()) == 5
    some = unread(2)
    _, said = cli("mark-read", "--stdin", "--quiet", stdin=f"{some[0]}\n\nnonsense\n--help\n{some[1]}\n", exit_code=6)
    assert said.endswith("2 done, 2 failed\n") and said.count("hint: ") == 2, said
    _, said = cli("mark-read", "--stdin", stdin="nonsense\n", exit_code=4)
    assert said.endswith("0 done, 1 failed\n")
    table = cli("messages", "--direction", "in", "--unread", "--limit", "4")[0]
    assert "read\t4\n" in cli("messages", "read", "-", stdin=table)[0]
    out, said = cli("messages", "tag", "--stdin", "bulk", stdin="\n".join(unread(3)))
    assert said.endswith("3 done, 0 failed\n") and len(cli("messages", "--tag", "bulk")[0].splitlines()) == 3


def send():
    out, _ = cli("send", "+15550110", "See", "you", "at", "five.", "--channel", "sandbox", "--dry-run", "--json")
    plan = json.loads(out)
    assert plan["dry_run"] is True and plan["channel"] == "sandbox" and plan["segments"] == 1, plan
    assert not cli("messages", "--q", "See you at five.")[0], "a dry run stored a message"
    message = json.loads(cli("send", "--to=+15550110", "See you at five.", "--channel", "sandbox", "--json")[0])["id"]
    for _ in range(200):
        if "\tdelivered\t" in cli("messages", "--q", "See you at five.")[0]:
            break
        time.sleep(0.05)
    kinds = [line.split("\t")[1:3] for line in cli("messages", "timeline", message)[0].splitlines()]
    assert any("sent" in " ".join(kind) for kind in kinds), kinds
    first = cli("send", "+15550110", "once", "--channel", "sandbox", "--idempotency-key", "cli-1")[0]
    assert first == cli("send", "+15550110", "once", "--channel", "sandbox", "--idempotency-key", "cli-1")[0]
    long = "long " * 2000
    out = json.loads(cli("send", "+15550110", "-", "--channel", "sandbox", "--dry-run", "--json", stdin=long)[0])
    assert out["parts"] >= 1 and out["segments"] > 50, out
    cli("send", "+15550110", "--channel", "sandbox", "--", "-5 degrees, --dry-run is a word here")
    assert "-5 degrees, --dry-run is a word here" in cli("messages", "--q", "degrees")[0]


def events_tail():
    """Live, on a pipe and on a terminal; --limit ends it."""
    command = [BINARY, "events", "tail", "-f", "--limit", "1"]
    tail = subprocess.Popen(command + ["--kinds", "message.received"], stdout=subprocess.PIPE, text=True,
                            env=environment(), cwd=folder)
    time.sleep(1)
    cli("sandbox", "say", "for the tail", "--as", "+15550101")
    out, _ = tail.communicate(timeout=20)
    fields = out.rstrip("\n").split("\t")
    assert tail.returncode == 0 and fields[1] == "message.received" and fields[4] == "for the tail", out
    tail = subprocess.Popen(command + ["--jsonl", "--kinds", "message.received"], stdout=subprocess.PIPE, text=True,
                            env=environment(), cwd=folder)
    time.sleep(1)
    cli("sandbox", "say", "for programs", "--as", "+15550101")
    event = json.loads(tail.communicate(timeout=20)[0])
    assert event["kind"] == "message.received" and event["message"]["text"] == "for programs" and event["seq"], event
    first = json.loads(cli("events", "--limit", "1", "--json")[0])[0]
    _, out = terminal.run(command + ["--cursor", first["cursor"]], 100, environment(), folder)
    lines = terminal.screen(out)
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  channel\.added", lines[0]), lines


def events_tail_survives_a_restart():
    """The hub goes and comes back: the tail goes on where it was, and misses nothing."""
    tail = subprocess.Popen([BINARY, "events", "tail", "--limit", "2", "--kinds", "message.received"], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), cwd=folder)
    time.sleep(1)
    cli("sandbox", "say", "before", "--as", "+15550101")
    assert tail.stdout.readline().endswith("\tbefore\n")
    hub.kill()
    hub.start()
    cli("sandbox", "say", "after", "--as", "+15550101")
    out, said = tail.communicate(timeout=30)
    assert out.endswith("\tafter\n") and tail.returncode == 0 and "trying again" in said, (out, said)


# --- errors -------------------------------------------------------------------------------------------------------

ERRORS = [      # words, exit code, what the error says, what the hint says
    (["mesages"], 2, 'no command "mesages"', "`message-hub messages`"),
    (["chanels", "add"], 2, 'no command "chanels add"', "`message-hub channels add`"),
    (["channels", "ad"], 2, 'no command "channels ad"', "`message-hub channels add`"),
    (["sandbox"], 2, 'no command "sandbox"', "sandbox say, sandbox messages"),
    (["xyzzyplugh"], 2, 'no command "xyzzyplugh"', "`message-hub help`"),
    (["help", "mesages"], 2, "no command", "`message-hub messages`"),
    (["--limit", "3"], 2, 'no command "--limit"', "comes first"),
    (["messages", "--lmit", "3"], 2, "no flag --lmit", "--limit"),
    (["messages", "-x"], 2, "no flag -x", "two dashes"),
    (["messages", "--limit", "many"], 2, "--limit must be a number", "--limit 20"),
    (["messages", "--limit", "0"], 2, "--limit must be a number", "--limit 20"),
    (["messages", "--limit"], 2, "--limit needs a value", "How many"),
    (["messages", "--timeout"], 2, "--timeout needs a value", "default: 30"),
    (["messages", "--timeout", "never"], 2, "--timeout must be a number", "--timeout 20"),
    (["messages", "--stdin"], 2, "no flag --stdin", "--state"),
    (["messages", "--jsonl=yes"], 2, "takes no value", "help messages"),
    (["messages", "--json=id,txt"], 2, 'no member "txt"', '"text"'),
    (["messages", "--direction", "up"], 2, "in", "."),
    (["messages", "--since", "soon"], 2, "since", "For example"),
    (["messages", "surplus"], 2, 'does not take "surplus"', "help messages"),
    (["send"], 2, "\"to\" is missing", "For example:"),
    (["sandbox", "say"], 2, "needs text", "For example: message-hub sandbox say"),
    (["messages", "get"], 2, "needs id", "For example"),
    (["messages", "get", "msg_0123456789abc"], 4, "no message", "."),
    (["messages", "get", "no-id-at-all"], 4, "no message", "."),
    (["channels", "get", "nowhere"], 4, "no channel", "."),
    (["rules", "add", "x", "--matches", "{bad", "--actions", "{}"], 2, "must be a JSON object", "single quotes"),
    (["messages", "receive-batch", "{}"], 2, "must be a JSON list", "single quotes"),
    (["messages", "--url", "http://127.0.0.1:1"], 1, "Cannot reach the hub at http://127.0.0.1:1", "MESSAGE_HUB_URL"),
    (["messages", "--data", "/nowhere"], 1, "Cannot reach the hub at /nowhere/hub.sock", "serve"),
    (["messages", "--profile", "nowhere"], 4, 'no profile "nowhere"', "config set url"),
    (["config"], 2, "Say what to do", "config show"),
    (["config", "check", "--lisen", "1"], 2, "--lisen", '"--listen"'),
    (["config", "chek"], 2, "chek", '"check"'),
    (["config", "get"], 2, "needs a name", "config show"),
    (["config", "get", "url"], 4, "has no url", "config set url"),
    (["config", "set", "ulr", "x"], 2, 'no "ulr"', '"url"'),
    (["config", "set", "url", "hub.example.com"], 2, "no URL", "https://"),
    (["config", "set", "key", "a\nb"], 2, "more than one line", "."),
    (["config", "set", "key", "a", "--profile", "a.b"], 2, "one word", "--profile work"),
    (["completion"], 2, "Name your shell", "bash|zsh|fish"),
    (["version", "--short"], 2, "--short", "--json"),
    (["man", "page"], 2, "page", "man"),
    (["serve", "--lisen", "1"], 2, "--lisen", '"--listen"'),
    (["serve", "--workers", "none"], 2, "workers", "."),
    (["migrate", "now"], 2, "now", "migrate"),
    (["seed-data", "--message", "3"], 2, "--message", '"--messages"'),
    (["seed-data", "--messages", "-3"], 2, "--messages needs a number", "seed-data"),
    (["seed-data"], 1, "A hub is running", "Stop it first"),
]


def errors():
    for words, code, says, hints in ERRORS:
        out, said = cli(*words, exit_code=code)
        lines = said.split("\n")
        assert out == "" and lines[0].startswith("message-hub: ") and says in lines[0], (words, said)
        assert len(lines) == 3 and lines[1].startswith("hint: ") and hints in lines[1], (words, said)


class Refusing(http.server.BaseHTTPRequestHandler):
    """Answers GET /api/v1/messages?q=STATUS with that status, as a problem or (q=STATUSraw) as a proxy's page."""

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)["q"][0]
        raw = query.endswith("raw")
        body = "<html>\x1b[2Jgateway</html>" if raw else json.dumps({"detail": "No\x1b[2J.", "hint": "Do\u202e it."})
        self.send_response(int(query[:3]))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


def exit_codes():
    """Each kind of refusal has its exit code, also from what is no hub; what it says cannot control the terminal."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    for status, code in ((400, 2), (401, 3), (403, 3), (404, 4), (409, 1), (413, 2), (422, 2), (429, 5), (500, 1),
                         (502, 1), (503, 1), (507, 1)):
        for query in (str(status), f"{status}raw"):
            _, said = cli("messages", "--url", url, "--q", query, exit_code=code)
            assert "hint: " in said and not re.search("[\x00-\x09\x0b-\x1f\u202e]", said), (status, said)
            assert query.endswith("raw") or r"No\x1b[2J." in said, said
    server.shutdown()


def keys_over_tcp():
    url = f"http://127.0.0.1:{hub.port}"
    token = re.search(r"one-time admin key: (\S+)", seed.stdout)[1]
    _, said = cli("messages", "--url", url, exit_code=3)
    assert "hint: Store a key of this hub: message-hub config set key" in said, said
    _, said = cli("messages", "--url", url, "--key", "mh_wrong", exit_code=3)
    assert "not valid" in said and "hint: " in said, said
    key = json.loads(cli("keys", "claim", token, "--url", url, "--json")[0])["token"]
    assert cli("messages", "--limit", "1", "--url", url, "--key", key)[0].startswith("msg_")
    assert cli("messages", "--limit", "1", MESSAGE_HUB_URL=url + "/", MESSAGE_HUB_KEY=key)[0].startswith("msg_")
    reading = json.loads(cli("keys", "create", "reader", "--scopes", "read", "--json")[0])["token"]
    _, said = cli("send", "+15550110", "no", "--url", url, "--key", reading, exit_code=3)
    assert "hint: " in said, said
    _, said = cli("keys", "claim", token, exit_code=3)      # one time only
    assert "hint: " in said, said
    return url, key


def profiles():
    url = f"http://127.0.0.1:{hub.port}"
    key = json.loads(cli("keys", "create", "profile", "--scopes", "read", "--json")[0])["token"]
    cli("config", "set", "url", url, "--profile", "work")
    cli("config", "set", "key", "-", "--profile=work", stdin=key + "\n")
    path = os.path.join(folder, ".config", "message-hub", "profiles")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert cli("config", "get", "url", "--profile", "work")[0] == url + "\n"
    assert key not in cli("config", "get", "key", "--profile", "work")[0]
    assert "name\tprofile\n" in cli("whoami", "--profile", "work")[0]
    assert "name\tprofile\n" in cli("whoami", MESSAGE_HUB_PROFILE="work", MESSAGE_HUB_DATA="")[0]
    # a named profile goes before the environment
    out, _ = cli("whoami", "--profile", "work", MESSAGE_HUB_URL="http://127.0.0.1:1", MESSAGE_HUB_KEY="x")
    assert "name\tprofile\n" in out, out
    # its key goes to no other hub
    _, said = cli("whoami", "--profile", "work", "--url", f"http://localhost:{hub.port}", exit_code=3)
    assert "hint: " in said, said
    # without a flag: environment before the default profile
    cli("config", "set", "url", "http://127.0.0.1:1")
    assert "uid:" in cli("whoami")[0]
    _, said = cli("whoami", MESSAGE_HUB_DATA="", exit_code=1)
    assert "http://127.0.0.1:1" in said
    cli("config", "set", "url", "")
    cli("config", "get", "url", exit_code=4)


def config_show():
    with open(os.path.join(data, "message-hub.conf"), "w", encoding="utf-8") as file:
        file.write("log-level = warn\nworkers = 3\n")
    out, _ = cli("config", "show", "--origin", "--workers", "5", MESSAGE_HUB_LLM_MODEL="m",
                 TWILIO_AUTH_TOKEN="secret-canary")
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in out.splitlines()}
    assert rows["workers"] == ["5", "flag --workers"]
    assert rows["llm-model"] == ["m", "environment MESSAGE_HUB_LLM_MODEL"]
    assert rows["log-level"] == ["warn", f"file {data}/message-hub.conf:1"] and rows["db-readers"] == ["4", "default"]
    assert rows["twilio-auth-token"] == ["(set, not shown)", "environment TWILIO_AUTH_TOKEN"] and "canary" not in out
    assert all(terminal.width(line) <= 100 for line in on_terminal("config", "show", "--origin"))
    with open(os.path.join(data, "message-hub.conf"), "w", encoding="utf-8") as file:
        file.write("lisen = 127.0.0.1:1\n")
    _, said = cli("config", "check", exit_code=2)
    assert 'message-hub.conf:1: unknown setting "lisen"' in said and 'hint: Did you mean "listen"?' in said, said
    os.unlink(os.path.join(data, "message-hub.conf"))
    assert cli("config", "check")[0] == "The configuration is correct.\n"


def socket_without_a_key():
    """Everything for the owner and root; nothing for anybody else, even where the file's mode would let them."""
    path = os.path.join(data, "hub.sock")
    assert stat.S_IMODE(os.stat(path).st_mode) & 0o077 == 0 and stat.S_IMODE(os.stat(data).st_mode) == 0o700
    if os.geteuid() != 0:
        return
    os.chmod(path, 0o777)
    os.chmod(data, 0o711)
    os.chmod(folder, 0o711)
    stranger = tempfile.mkdtemp(prefix="message-hub-stranger-")
    os.chmod(stranger, 0o777)
    program = shutil.copy(BINARY, stranger)
    try:
        as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        done = subprocess.run(as_nobody + [program, "messages", "--socket", path], capture_output=True, text=True,
                              env=environment(), cwd=stranger, timeout=20, check=False)
        assert done.returncode == 3 and done.stdout == "" and "hint: " in done.stderr, done
    finally:
        shutil.rmtree(stranger)
        os.chmod(path, 0o600)
        os.chmod(data, 0o700)


def broken_output():
    """A reader that leaves early ends the program quietly; a full disk is told."""
    done = subprocess.run(["bash", "-c", '"$0" messages --limit 3000 | head -1 >/dev/null', BINARY], text=True,
                          capture_output=True, env=environment(), cwd=folder, timeout=30, check=False)
    assert done.stderr == "", done.stderr
    if os.path.exists("/dev/full"):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([BINARY, "messages"], stdout=full, stderr=subprocess.PIPE, text=True, cwd=folder,
                                  env=environment(), timeout=30, check=False)
        assert done.returncode == 1 and "hint: " in done.stderr, done


def main():
    with hub:
        for test in (seeds_quietly, say, message_tables, columns_stand_below_their_titles,
                     neutralises_control_characters, times_are_local_on_a_terminal, several_pages, fits_100_columns,
                     empty_lists, colours, json_forms, filters, mark_read, bulk_by_stdin, send, events_tail,
                     events_tail_survives_a_restart, errors, exit_codes,
                     keys_over_tcp, profiles, config_show, socket_without_a_key, broken_output):
            cases.run(test.__name__, test)
        assert hub.stop(signal.SIGTERM) == 0
    shutil.rmtree(folder, ignore_errors=True)
    cases.exit()


main()
