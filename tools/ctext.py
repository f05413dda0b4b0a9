"""What the checks need of C's grammar: code without comments and literals, the literals, functions and prototypes."""
import os
import re

TOKEN = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'""", re.S)
FUNCTION = re.compile(r"^(?P<head>[A-Za-z_][^;{}#]*?\))\s*\n\{\n(?P<body>.*?)^\}", re.S | re.M)


def files(root, folders, endings):
    """The files below the folders with these endings, sorted, as paths from the root; not what npm brought."""
    found = []
    for folder in folders:
        for path, below, names in os.walk(os.path.join(root, folder)):
            below[:] = [name for name in below if name != "node_modules"]
            found += [os.path.relpath(os.path.join(path, name), root) for name in names if name.endswith(endings)]
    return sorted(found)


def blank(match):
    """The match as spaces, its line breaks kept."""
    return re.sub(r"[^\n]", " ", match.group())


def without_comments(text):
    return TOKEN.sub(lambda m: m.group() if m.group()[0] in "\"'" else blank(m), text)


def code_only(text):
    """Comments and the inside of literals become spaces; every offset and line stays."""
    def hide(match):
        if match.group()[0] in "\"'":
            return match.group()[0] + blank(match)[1:-1] + match.group()[-1]
        return blank(match)
    return TOKEN.sub(hide, text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def functions(code):
    """(name, head, parameters, first line, lines) of every function whose brace stands on its own line; `code` as of
    code_only. The lines are those of the signature and the body."""
    for match in FUNCTION.finditer(code):
        head = match.group("head")
        name = re.search(r"([A-Za-z_]\w*)\s*\(", head)
        if name and name.group(1) not in ("if", "for", "while", "switch"):
            yield (name.group(1), head, parameters(head[name.end():]), line_of(code, match.start()),
                   match.group().count("\n") + 1)


def parameters(text):
    """How many parameters a list has; `text` starts behind its opening parenthesis."""
    depth, count = 1, 1
    for at, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        count += char == "," and depth == 1
        if depth == 0:
            return 0 if text[:at].strip() in ("", "void") else count
    return count


def literals(text):
    """(line, value) of every string literal, neighbours joined as the compiler joins them. `text` holds no comments."""
    joined = re.compile(r'"(?:[^"\\\n]|\\.)*"(?:\s*"(?:[^"\\\n]|\\.)*")*')
    for match in joined.finditer(text):
        parts = re.findall(r'"((?:[^"\\\n]|\\.)*)"', match.group())
        yield line_of(text, match.start()), re.sub(r"\\(.)", r"\1", "".join(parts))
