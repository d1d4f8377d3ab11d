"""Pages of the documents, and the fenced blocks in them."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


class Failure(Exception):
    """A block or a link that is wrong; the message says how."""


class Block:
    """A fenced block: its language, text, line number, and the comments before it."""

    def __init__(self, page, line, language, text, notes):
        self.page, self.line, self.language, self.text, self.notes = page, line, language, text, notes

    def __str__(self):
        return f"{self.page}:{self.line}"


def pages(wanted):
    if wanted:
        return [pathlib.Path(name).resolve().relative_to(ROOT) for name in wanted]
    found = [pathlib.Path(name) for name in ("README.md", "BENCHMARKS.md", "CONTRIBUTING.md")]
    return found + sorted(path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md"))


def lines_of(page):
    """The page's lines with included files in place, except root documents, which are pages themselves."""
    for number, line in enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), 1):
        include = re.fullmatch(r"\s*\{\{#include ([^}:]+)\}\}\s*", line)
        if not include:
            yield number, line
            continue
        target = (ROOT / page).parent / include[1]
        if not target.is_file():
            raise Failure(f"{page}:{number}: {include[1]} does not exist")
        if target.resolve().parent != ROOT:
            yield from ((number, included) for included in target.read_text(encoding="utf-8").splitlines())


def blocks_of(page):
    blocks, notes, fence, body = [], {}, None, []
    previous = ""
    for number, line in lines_of(page):
        if fence:
            if line.strip() == fence[1]:
                blocks.append(Block(page, fence[0], fence[2], "".join(text + "\n" for text in body), notes))
                fence, body, notes = None, [], {}
            else:
                body.append(line.removeprefix(fence[3]))
        elif opening := re.fullmatch(r"(\s*)(`{3,}|~{3,})([\w-]*)[^`]*", line):
            fence = (number, opening[2], opening[3], opening[1])
        elif comment := re.fullmatch(r"\s*<!-- *([a-z ]+?)(?:: *(.*?))? *-->\s*", line):
            notes[comment[1]] = comment[2] or ""
        elif line.strip():
            notes = {}
            if line.startswith("    ") and not previous.strip() and not in_list(page, number):
                raise Failure(f"{page}:{number}: an indented code block; fence it, so that it has a language")
        previous = line
    if fence:
        raise Failure(f"{page}:{fence[0]}: the block is not closed")
    return blocks


def in_list(page, number):
    """Whether the last line before `number` that is not indented is an item of a list."""
    before = [line for at, line in lines_of(page) if at < number and line.strip() and not line.startswith("  ")]
    return bool(before) and re.match(r"[-*+] |\d+\. ", before[-1]) is not None
