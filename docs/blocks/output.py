"""Compares what a command printed with what a page shows."""
import re

from .pages import Failure

NUMBER = re.compile(r"-?\d+\.\d+(?:[eE][-+]?\d+)?")


def line_matches(expected, line, tolerance):
    if tolerance is None:
        pattern = ".*".join(re.escape(part) for part in expected.split("..."))
        return re.fullmatch(pattern, line.rstrip()) is not None
    parts = []
    for part in expected.split("..."):
        pieces = NUMBER.split(part)
        numbers = NUMBER.findall(part)
        # Columns are aligned to numbers whose width may differ.
        texts = [re.sub(r"(?:\\ )+", r" +", re.escape(piece)) for piece in pieces]
        parts.append("".join(text + (f"({NUMBER.pattern}|\\d+)" if at < len(numbers) else "") for at, text in enumerate(texts)))
    found = re.fullmatch(".*".join(parts), line.rstrip())
    shown = [float(number) for part in expected.split("...") for number in NUMBER.findall(part)]
    return found is not None and all(abs(float(a) - b) <= tolerance * max(1.0, abs(b)) for a, b in zip(found.groups(), shown))


def matches(expected, lines, tolerance):
    """Whether lines are what is expected, where a line `...` stands for any lines."""
    if not expected:
        return not lines
    first, rest = expected[0], expected[1:]
    if first.strip() == "...":
        return any(matches(rest, lines[at:], tolerance) for at in range(len(lines) + 1))
    return bool(lines) and line_matches(first.rstrip(), lines[0], tolerance) and matches(rest, lines[1:], tolerance)


def compare(expected, lines, tolerance):
    if not matches(expected, lines, tolerance):
        raise Failure("the output differs. Shown:\n" + indent(expected) + "\nprinted:\n" + indent(lines))


def indent(lines):
    shown = lines if len(lines) <= 60 else [*lines[:30], f"[{len(lines) - 60} lines]", *lines[-30:]]
    return "\n".join("    " + line for line in shown)
