"""schema - check a value against the subset of JSON Schema that /openapi.json uses, and make values for it."""
import re

KINDS = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")


def is_kind(value, kind):
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, KINDS[kind])


def kinds_of(schema):
    kind = schema.get("type", [])
    return kind if isinstance(kind, list) else [kind]


def resolve(schema, document):
    while "$ref" in schema:
        found = document
        for part in schema["$ref"].lstrip("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def faults(value, schema, document, path="$"):
    """What is wrong with the value, as a list of sentences."""
    schema = resolve(schema, document)
    kinds = kinds_of(schema)
    if kinds and not any(is_kind(value, kind) for kind in kinds):
        return [f"{path}: {value!r:.60} is not {'|'.join(kinds)}"]
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{path}: {value!r:.60} is none of {schema['enum']}")
    if isinstance(value, str):
        found += text_faults(value, schema, path)
    elif is_kind(value, "integer"):
        if value < schema.get("minimum", value) or value > schema.get("maximum", value):
            found.append(f"{path}: {value} is out of range")
    elif isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            found.append(f"{path}: {len(value)} items")
        for index, item in enumerate(value):
            found += faults(item, schema.get("items", {}), document, f"{path}[{index}]")
    elif isinstance(value, dict):
        found += object_faults(value, schema, document, path)
    return found


def text_faults(value, schema, path):
    found = []
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        found.append(f"{path}: {len(value)} characters")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{path}: {value!r:.60} does not fit {schema['pattern']}")
    if schema.get("format") == "date-time" and not TIME.match(value):
        found.append(f"{path}: {value!r:.60} is no time")
    return found


def object_faults(value, schema, document, path):
    properties, more = schema.get("properties"), schema.get("additionalProperties", True)
    found = [f"{path}: no {name}" for name in schema.get("required", []) if name not in value]
    for name, member in value.items():
        if properties and name in properties:
            found += faults(member, properties[name], document, f"{path}.{name}")
        elif more is False:
            found.append(f"{path}: unexpected {name}")
    return found


def undocumented(value, schema, document):
    """Members of an answer that its schema does not name: what is not written down cannot be relied on."""
    schema = resolve(schema, document)
    if isinstance(value, list):
        return sorted({name for item in value for name in undocumented(item, schema.get("items", {}), document)})
    if not isinstance(value, dict) or "properties" not in schema:
        return []
    return sorted({name for name in value if name not in schema["properties"]} |
                  {below for name in value if name in schema["properties"]
                   for below in undocumented(value[name], schema["properties"][name], document)})


def sample(schema):
    """A value that the schema allows, its example or default where it has one."""
    if schema.get("examples"):
        return schema["examples"][0]
    if "default" in schema:
        return schema["default"]
    if "enum" in schema:
        return schema["enum"][0]
    kind = kinds_of(schema)[0]
    if kind == "string":
        if schema.get("format") == "date-time":
            return "2036-01-01T00:00:00Z"
        return "https://example.com/" if schema.get("format") == "uri" else "x" * max(1, schema.get("minLength", 1))
    if kind == "integer":
        return schema.get("minimum", 1)
    if kind == "array":
        return [sample(schema["items"])] * max(1, schema.get("minItems", 1))
    return {"boolean": True, "object": {}}[kind]


def wrong_samples(schema):
    """Values that the schema refuses, each with what is wrong about it."""
    kinds = kinds_of(schema)
    others = {"string": 7, "integer": "seven", "boolean": "perhaps", "array": {"a": 1}, "object": [1]}
    found = [("type", others[kind]) for kind in kinds[:1] if kind in others and not
             any(is_kind(others[kind], other) for other in kinds)]
    found += [("type", value) for value in (1.5, [[]], {"x": []}) if kinds and
              not any(is_kind(value, kind) for kind in kinds)]
    if "null" not in kinds and kinds:
        found.append(("null", None))
    if "enum" in schema:
        found.append(("enum", "no such word"))
    if "pattern" in schema:
        found.append(("id", "msg_"))
    if schema.get("format") == "date-time":
        found.append(("time", "yesterday"))
    if "minimum" in schema:
        found.append(("minimum", schema["minimum"] - 1))
    if "maximum" in schema:
        found.append(("maximum", schema["maximum"] + 1))
    if schema.get("minLength"):
        found.append(("empty", ""))
    if "maxLength" in schema and schema["maxLength"] < 100000 and "enum" not in schema:
        found.append(("too long", "x" * (schema["maxLength"] + 1)))
    if "maxItems" in schema and schema["maxItems"] <= 1000:
        found.append(("too many", [sample(schema["items"])] * (schema["maxItems"] + 1)))
    return found


def odd_samples(schema):
    """Values at the edges: allowed by the schema or not, they must never be a fault of ours."""
    found = []
    kinds = kinds_of(schema)
    if "string" in kinds:
        longest = min(schema.get("maxLength", 1000), 70000)
        found += ["", " ", "\u0000", "\ufffe\u202e\U0001f469\u200d\U0001f4bb", "'; DROP TABLE messages; --",
                  "../../etc/passwd", "%00%s%n", "x" * longest, "é" * longest]
    if "integer" in kinds:
        found += [schema.get("minimum", 0), schema.get("maximum", 2**53), -2**63, 2**63 - 1, 2**63, 10**40]
    if "array" in kinds:
        found += [[], [""] * 3]
    if "object" in kinds:
        found += [{}, {"a" * 100: "b" * 15000}, {"a": {"b": {"c": [1, None, True, "\u0001"]}}}, {"x": "y" * 20000}]
    return found
