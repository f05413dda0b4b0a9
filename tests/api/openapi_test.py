#!/usr/bin/env python3
"""openapi_test - call every operation that /openapi.json names: with what it asks for, at the edges, with everything
that is wrong, without a key, without its scope, with ids of another tenant. No 5xx; every answer fits its schema."""
import json
import random
import re
import urllib.parse

import schema
from api import API, Hub, Report, hubs

LAST = ("key.revoke", "device.revoke", "channel.disable", "tenant.suspend", "egress.remove")
SCOPES = ("read", "send", "receive", "manage", "admin")
ID = re.compile(r"^\^(\w+)_")


class Operation:
    def __init__(self, method, path, row):
        self.method, self.path, self.row, self.name = method.upper(), path, row, row["operationId"]
        self.scope = row.get("x-scope")
        self.path_fields = [p for p in row["parameters"] if p["in"] == "path"]
        self.query = {p["name"]: p["schema"] for p in row["parameters"] if p["in"] == "query"}
        content = row.get("requestBody", {}).get("content", {})
        self.body = content.get("application/json", {}).get("schema")
        self.successes = {status: answer.get("content", {}) for status, answer in row["responses"].items()
                          if status.startswith("2")}
        kinds = {kind for answer in self.successes.values() for kind in answer}
        self.streams = "text/event-stream" in kinds
        self.is_raw = "*/*" in kinds or "*/*" in content       # reads its own query
        self.required_query = [p["name"] for p in row["parameters"] if p["in"] == "query" and p.get("required")]


def prefix_of(field):
    """"msg" of a schema that takes message ids, or None."""
    found = ID.match(field.get("pattern", ""))
    return found.group(1) if found else None


class World:
    """One tenant with something of everything, made anew whenever an operation asks for it."""

    def __init__(self, hub, token):
        self.hub, self.token, self.count = hub, token, random.randrange(10**6) * 1000
        self.bridge = None

    def bridge_key(self):
        """The key of a device that speaks for a channel which pulls, and which keeps one thing."""
        if not self.bridge:
            name = f"bridged {random.randrange(10**9)}"
            self.post(API + "/channels", {"kind": "baileys", "name": name})
            self.bridge = self.post(API + "/devices", {"name": "bridge", "channel": name})["token"]
            self.hub.call("PUT", API + "/bridge/state/creds", {"value": "aGVsbG8="}, key=self.bridge)
            self.hub.call("POST", f"{API}/channels/{urllib.parse.quote(name)}/disable", {}, key=self.token)
        return self.bridge

    def post(self, path, body):
        answer = self.hub.call("POST", path, body, key=self.token)
        if answer.status not in (200, 201, 202):
            raise RuntimeError(f"POST {path} {body}: {answer}")
        return answer.json

    def message(self):
        self.count += 1
        return self.post(API + "/messages", {"from": "+15550100300", "text": "x", "id": f"w-{self.count}",
                                             "channel": "sandbox"})["id"]

    def outbound(self):
        return self.post(API + "/messages/send", {"to": "+15550100301", "text": "x", "channel": "sandbox",
                                                  "at": "2036-01-01T00:00:00Z"})["id"]

    def detail(self, name):
        return self.hub.call("GET", f"{API}/messages/{self.message()}", key=self.token).json[name]

    def make(self, prefix, operation=None):
        """The id of a fresh object of this kind; None when nothing makes one."""
        self.count += 1
        name = f"made {self.count}"
        if prefix == "msg":
            outbound = operation and operation.name.startswith(("outbox.", "message.cancel", "message.send_draft"))
            return self.outbound() if outbound else self.message()
        if prefix == "med":
            answer = self.hub.call("POST", API + "/media", b"file %d" % self.count, key=self.token)
            return answer.json["id"]
        if prefix in ("con", "cnv"):
            return self.detail("contact_id" if prefix == "con" else "conversation_id")
        rows = {"chn": ("channels", {"kind": "sandbox", "name": name}), "dev": ("devices", {"name": name}),
                "key": ("keys", {"name": name, "scopes": ["read"]}), "ten": ("tenants", {"name": name}),
                "egr": ("egress", {"network": "127.0.0.0/8", "port": self.count % 60000 + 1}),
                "rul": ("rules", RULE and {**RULE, "name": name})}
        path, body = rows.get(prefix, (None, None))
        return self.post(f"{API}/{path}", body)["id"] if body else None


RULE = {}       # a valid rule, from the document's own example, once it is read


def random_id(prefix):
    return f"{prefix}_{''.join(random.choices('0123456789abcdefghjkmnpqrstvwxyz', k=13))}"


def fill(world, operation, field):
    """A value for one field: an id of something that is there, or the schema's sample."""
    prefix = prefix_of(field)
    if prefix:
        return world.make(prefix, operation) or random_id(prefix)
    if "array" in schema.kinds_of(field) and prefix_of(field["items"]):
        return [world.make(prefix_of(field["items"]), operation)]
    return schema.sample(field)


def path_of(world, operation, ids=None):
    path = operation.path
    for parameter in operation.path_fields:
        prefix, name = prefix_of(parameter["schema"]), parameter["name"]
        value = (ids or {}).get(prefix) or fill(world, operation, parameter["schema"])
        path = path.replace("{%s}" % name, urllib.parse.quote(str(value), safe=""))
    return path


def minimal(world, operation):
    """The smallest body: what is required, and what no schema says."""
    if operation.name == "media.upload":
        return b"bytes"
    if operation.body is None:
        return None
    body = {name: fill(world, operation, operation.body["properties"][name]) for name in operation.body["required"]}
    if operation.name.startswith("message.send"):
        body.update({"to": "+15550100301", "channel": "sandbox", "text": "x"} if "to" in operation.body["properties"]
                    else {})
    if operation.name == "message.read_many":
        body["conversation"] = world.make("cnv")
    if operation.name.startswith(("channel.add", "tenant.create", "rule.")) and "name" in operation.body["properties"]:
        world.count += 1
        body["name"] = f"made {world.count}"
    if operation.name == "channel.add":
        body["kind"] = "sandbox"
    return body


def call(world, operation, path, body=None, query=None, key=""):
    target = path + ("?" + urllib.parse.urlencode(query) if query else "")
    own = world.bridge_key() if operation.name.startswith("bridge.") else world.token
    return world.hub.call(operation.method, target, body, key=own if key == "" else key)


def problem_faults(answer, document):
    if answer.headers.get("content-type", "").split(";")[0] != "application/problem+json":
        return [f"no problem document: {answer}"]
    found = schema.faults(answer.json, document["components"]["schemas"]["Problem"], document)
    if answer.json and answer.json.get("status") != answer.status:
        found.append(f"status {answer.json.get('status')} inside, {answer.status} outside")
    return found


def answer_faults(operation, answer, document):
    """What is wrong with any answer to any input."""
    if answer.status >= 500:
        return [f"a fault of ours: {answer}"]
    if answer.status >= 400:
        return problem_faults(answer, document)
    content = operation.successes.get(str(answer.status), operation.successes.get("2XX"))
    if content is None:
        return [f"the status is not documented, only {sorted(operation.successes)}: {answer}"]
    if not content or "*/*" in content:
        return [f"a body where none is documented: {answer}"] if answer.body and not content else []
    if answer.json is None:
        return [f"no JSON: {answer}"]
    wanted = content["application/json"]["schema"]
    return schema.faults(answer.json, wanted, document) + \
        [f"undocumented: {name}" for name in schema.undocumented(answer.json, wanted, document)]


# --- The tests of one operation ---

def works(report, world, operation, document):
    """What it asks for; then with each optional field."""
    bad = []
    first = call(world, operation, path_of(world, operation), minimal(world, operation),
                 {name: schema.sample(operation.query[name]) for name in operation.required_query})
    bad += answer_faults(operation, first, document)
    good = first.status < 300 or first.status in (404, 409) or not operation.scope
    report.check(f"{operation.name} answers what it is asked for", good and not bad, operation.path, first, *bad)
    for name, field in (operation.body or {}).get("properties", {}).items():
        body = {**minimal(world, operation), name: fill(world, operation, field)}
        answer = call(world, operation, path_of(world, operation), body)
        bad += [f"{name}: {fault}" for fault in answer_faults(operation, answer, document)]
    for name, field in operation.query.items():
        value = fill(world, operation, field)
        value = str(value).lower() if isinstance(value, bool) else value
        answer = call(world, operation, path_of(world, operation), minimal(world, operation), {name: value})
        bad += [f"{name}: {fault}" for fault in answer_faults(operation, answer, document)]
    report.check(f"{operation.name} answers fit the schema with every field", not bad, *bad[:10])


def refuses_wrong(report, world, operation, document):
    """Wrong, missing, extra: 4xx that names the field."""
    bad, path, valid = [], path_of(world, operation), minimal(world, operation)

    def refused(what, answer, field):
        found = answer_faults(operation, answer, document)
        if answer.status not in (400, 404, 413, 415, 422):
            found.append(f"status {answer.status}")
        elif answer.status == 422 and field and not (answer.json.get("field") or "").startswith(field):
            found.append(f"names {answer.json.get('field')}")
        elif answer.status == 422 and not (answer.json.get("hint") or "allowed" in answer.json["detail"]
                                           or "must be" in answer.json["detail"]):
            found.append(f"says not what to do: {answer.json}")
        bad.extend(f"{what}: {fault}" for fault in found)

    for name, field in (operation.body or {}).get("properties", {}).items():
        for what, value in schema.wrong_samples(field):
            refused(f"{name} {what}", call(world, operation, path, {**valid, name: value}), name)
    for name in (operation.body or {}).get("required", []):
        refused(f"{name} missing", call(world, operation, path, {n: v for n, v in valid.items() if n != name}), name)
    for name, field in operation.query.items():
        for what, value in schema.wrong_samples(field):
            if isinstance(value, str) and not (value == "" and what == "type"):
                refused(f"{name} {what}", call(world, operation, path, valid, {name: value}), name)
    if operation.body is not None:
        refused("an extra field", call(world, operation, path, {**valid, "surprise": 1}), "surprise")
        refused("an array as body", call(world, operation, path, [valid]), "")
    if not operation.is_raw:
        refused("an extra parameter", call(world, operation, path, valid, {"surprise": "1"}), "surprise")
    report.check(f"{operation.name} refuses what is wrong and says why", not bad, *bad[:10])


def survives_odd(report, world, operation, document):
    """Edges, unicode, huge: whatever the answer, no fault of ours and nothing outside the schema."""
    bad, path, valid = [], path_of(world, operation), minimal(world, operation)
    for name, field in (operation.body or {}).get("properties", {}).items():
        for value in schema.odd_samples(field):
            answer = call(world, operation, path, {**valid, name: value})
            bad += [f"{name}={value!r:.40}: {fault}" for fault in answer_faults(operation, answer, document)]
    for name, field in operation.query.items():
        for value in schema.odd_samples(field):
            if isinstance(value, (str, int)) and len(str(value)) < 2000:
                answer = call(world, operation, path, valid, {name: value})
                bad += [f"?{name}={value!r:.40}: {fault}" for fault in answer_faults(operation, answer, document)]
    for parameter in operation.path_fields:
        for value in ("x", "%FF", "%00", "a" * 3000, "..", "msg_0000000000000", urllib.parse.quote("☂/")):
            answer = call(world, operation, operation.path.replace("{%s}" % parameter["name"], value, 1)
                          .replace("{id}", "x").replace("{tag}", "x").replace("{path}", "x"), valid)
            bad += [f"{value[:20]}: {fault}" for fault in answer_faults(operation, answer, document)]
    report.check(f"{operation.name} survives odd input", not bad, *bad[:10])


def needs_its_scope(report, world, operation, keys, document):
    path, body = path_of(world, operation), minimal(world, operation)
    without = call(world, operation, path, body, key=None)
    wrong = call(world, operation, path, body, key="mh_" + "A" * 43)
    lesser = call(world, operation, path, body, key=keys[operation.scope])
    statuses = [answer.status for answer in (without, wrong, lesser)]
    report.check(f"{operation.name} needs a key with \"{operation.scope}\"", statuses == [401, 401, 403] and
                 not sum((problem_faults(a, document) for a in (without, wrong, lesser)), []), statuses, lesser)


def hides_other_tenants(report, world, other, operation):
    """An id of another tenant answers exactly as one that never was."""
    prefixes = {prefix_of(p["schema"]) for p in operation.path_fields} - {None, "ten", "egr"}   # the operator's
    for prefix in prefixes:
        foreign = other.make(prefix, operation)
        if not foreign:
            continue
        body = minimal(world, operation)
        answers = [call(world, operation, path_of(world, operation, {prefix: id}), body)
                   for id in (foreign, random_id(prefix))]
        shown = [{n: v for n, v in (a.json or {}).items() if n != "request_id"} for a in answers]
        report.check(f"{operation.name} hides other tenants", [a.status for a in answers] == [404, 404] and
                     shown[0] == shown[1], *answers)


def hides_in_bodies(report, world, other, operation):
    """The same for ids in bodies and queries; a random id is drawn until it has the shape of one."""
    bad = []
    for name, field in {**operation.query, **(operation.body or {}).get("properties", {})}.items():
        many = "array" in schema.kinds_of(field)
        prefix = prefix_of(field["items"] if many else field)
        foreign = other.make(prefix, operation) if prefix not in (None, "ten", "egr") else None
        if not foreign:
            continue

        def shown(id):
            body, query = minimal(world, operation), None
            if name in operation.query:
                query = {name: id}
            elif name in ("conversation", "ids"):
                body = {**{n: v for n, v in body.items() if n not in ("to", "channel", "conversation")},
                        name: [id] if many else id}
            else:
                body = {**body, name: [id] if many else id}
            answer = call(world, operation, path_of(world, operation), body, query)
            changing = re.compile(r'"(request_id|id|next|cursor)":"[^"]*"')
            return answer.status, changing.sub("", answer.body.decode()).replace(id, "ID")

        theirs = shown(foreign)
        never = next((seen for seen in (shown(random_id(prefix)) for _ in range(100)) if seen[0] != 422), None)
        bad += [] if theirs == never else [f"{name}: {theirs}", f"{name}: {never}"]
    if bad:
        report.check(f"{operation.name} hides other tenants' ids in its input", False, *bad)


# --- All of them ---

def read_operations(hub):
    document = hub.call("GET", "/openapi.json", key=None).json
    operations = [Operation(method, path, row) for path, item in document["paths"].items()
                  for method, row in item.items()]
    operations.sort(key=lambda operation: operation.name.startswith(LAST))
    for operation in operations:
        if operation.name == "rule.create" or operation.name == "rule.add":
            properties = operation.body["properties"]
            RULE.update({name: schema.sample(properties[name]) for name in operation.body["required"]})
    return document, operations


def tests_everything(report, hub):
    document, operations = read_operations(hub)
    report.check("the document names operations", len(operations) > 60, len(operations))
    second = hub.post(API + "/tenants", {"name": "another"}).json
    world, other = World(hub, hub.key), World(hub, second["token"])
    hub.call("POST", API + "/channels", {"kind": "sandbox", "name": "sandbox"}, key=second["token"])
    keys = {}
    for scope in SCOPES:
        body = {"name": f"without {scope}", "scopes": [other for other in SCOPES if other != scope]}
        keys[scope] = hub.post(API + "/keys", body).json["token"]
    for operation in operations:
        if operation.scope:
            needs_its_scope(report, world, operation, keys, document)
        if operation.streams:
            continue        # what follows would wait for an end
        works(report, world, operation, document)
        refuses_wrong(report, world, operation, document)
        survives_odd(report, world, operation, document)
        if operation.scope:
            hides_other_tenants(report, world, other, operation)
            hides_in_bodies(report, world, other, operation)


def reaches_every_success(report, hub):
    """Each documented way to succeed is seen, so that none is there for nothing."""
    document, operations = read_operations(hub)
    world = World(hub, hub.key)
    named = {operation.name: operation for operation in operations}

    def seen(name, path, body, statuses):
        answers = [call(world, named[name], path, body) for _ in statuses]
        bad = sum((answer_faults(named[name], answer, document) for answer in answers), [])
        report.check(f"{name} answers {statuses} as documented", [a.status for a in answers] == statuses and not bad,
                     *answers, *bad)

    message = {"from": "+15550100310", "text": "x", "channel": "sandbox", "id": f"s-{world.count}"}
    seen("message.receive", API + "/messages", message, [201, 200])
    start = {"to": f"+1555{random.randrange(10**7):07}", "channel": "sandbox"}
    seen("conversation.start", API + "/conversations", start, [201, 200])
    for name in ("message.send", "message.send.alias1", "message.send.alias2"):
        body = {"to": "+15550100311", "text": "x", "channel": "sandbox", "at": "2036-01-01T00:00:00Z"}
        seen(name, named[name].path, body, [202])
        seen(name, named[name].path, {**body, "dry_run": True}, [200])
    for name in ("outbox.dispatch_next", "outbox.dispatch_next.alias1"):
        answers = [call(world, named[name], named[name].path) for _ in range(30)]
        bad = sum((answer_faults(named[name], answer, document) for answer in answers), [])
        report.check(f"{name} ends with 204", 204 in [a.status for a in answers] and not bad, *bad)
    page = call(world, named["event.list"], API + "/events/list")
    report.check("a page of the log is documented whole", page.json.get("cursor") and
                 not answer_faults(named["event.list"], page, document), page)


def has_a_negative_control(report, hub):
    """The checker itself must be able to fail."""
    wrong = {"items": [{"id": 7}]}
    row = {"type": "object", "required": ["items", "next"], "properties": {"items": {"type": "array", "items": {
        "type": "object", "properties": {"id": {"type": "string", "pattern": "^msg_"}}}}}}
    report.same("a wrong answer is seen", len(schema.faults(wrong, row, {})), 2)
    more = schema.undocumented({"items": [{"id": "", "new": 1}]}, row, {})
    report.same("an undocumented member is seen", more, ["new"])
    row = {"operationId": "x", "parameters": [], "responses": {"201": {"content": {"application/json": {"schema": {
        "type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}}}}, "204": {}}}
    operation = Operation("post", "/x", row)

    def found(status, body):
        return len(answer_faults(operation, hubs.Answer(status, {}, body), {}))

    report.same("so is a status that is not documented, a body that is, and one that is wrong",
                [found(201, b'{"id":"a"}'), found(204, b""), found(200, b'{"id":"a"}'), found(204, b"{}"),
                 found(201, b"{}"), found(201, b'{"id":"a","b":1}'), found(201, b"")], [0, 0, 1, 1, 1, 1, 1])


if __name__ == "__main__":
    random.seed(20261120)
    Report("openapi").run([has_a_negative_control, tests_everything, reaches_every_success])
