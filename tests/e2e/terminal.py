"""terminal.py - run a program on a terminal of a given size, and see what a person would see."""
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
import unicodedata


def run(command, columns, env, cwd, wait_s=20):
    """What `command` prints on a terminal that is `columns` wide: (exit code, bytes)."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = subprocess.Popen(command, stdin=side, stdout=side, stderr=side, env=env, cwd=cwd, close_fds=True)
    os.close(side)
    out, end = b"", time.monotonic() + wait_s
    while time.monotonic() < end:
        if not select.select([main], [], [], 0.2)[0]:
            continue
        try:
            piece = os.read(main, 65536)
        except OSError:     # the program is gone
            break
        if not piece:
            break
        out += piece
    os.close(main)
    if process.poll() is None and time.monotonic() >= end:
        process.kill()
    return process.wait(5), out


def char_width(char):
    if unicodedata.combining(char) or char in "\u200d\ufe0f":
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def width(text):
    return sum(char_width(char) for char in text)


def screen(data):
    """The lines a terminal shows: colours gone, movements to a column carried out. Anything else that controls a
    terminal raises."""
    lines = []
    for line in data.decode("utf-8").replace("\r\n", "\n").split("\n"):
        shown = ""
        for part in re.split(r"(\x1b\[[0-9;]*[mG])", line):
            if part.endswith("G") and part.startswith("\x1b"):
                shown += " " * (int(part[2:-1]) - 1 - width(shown))
            elif not part.startswith("\x1b["):
                assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200e\u200f]", part), repr(part)
                shown += part
        lines.append(shown.rstrip(" "))
    return lines


def from_column(line, column):
    """What of a line begins at a terminal column; None when a wide character stands across it."""
    at = 0
    for index, char in enumerate(line):
        if at == column:
            return line[index:]
        at += char_width(char)
    return "" if at <= column else None
