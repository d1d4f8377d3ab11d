"""Checks links between pages, and that the table of contents names every page."""
import re

from .pages import ROOT, lines_of


def prose_of(page):
    """The page's text without code."""
    fence = None
    for number, line in lines_of(page):
        if opening := re.match(r"\s*(`{3,}|~{3,})", line):
            fence = None if fence == opening[1] else fence or opening[1]
        elif not fence:
            yield number, re.sub(r"`[^`]*`", "`code`", line)


def slug(heading):
    """The anchor of a heading, as GitHub and mdBook make it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", text))


def anchors(path):
    """The anchors of a page's headings, with those of the files that it includes."""
    text = path.read_text(encoding="utf-8")
    text += "".join((path.parent / name).read_text(encoding="utf-8") for name in re.findall(r"\{\{#include ([^}:]+)\}\}", text))
    return {slug(heading) for heading in re.findall(r"^#+ +(.*)$", text, re.MULTILINE)}


def broken_links(page):
    in_book = page.parts[0] == "docs"
    for number, line in prose_of(page):
        for target in re.findall(r"\]\(<?([^)\s>]+)>?[^)]*\)", line):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            path = ((ROOT / page).parent / name).resolve() if name else ROOT / page
            if not path.exists():
                yield f"{page}:{number}: link to {target}, which does not exist"
            elif in_book and not path.is_relative_to(ROOT / "docs"):
                yield f"{page}:{number}: link to {target}, which is not part of the book"
            elif anchor and anchor not in anchors(path):
                yield f"{page}:{number}: link to {target}, a heading that does not exist"


def not_listed():
    """Pages of the book that its table of contents does not name."""
    summary = (ROOT / "docs/SUMMARY.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"\]\(([^)#]+)\)", summary))
    for path in sorted((ROOT / "docs").rglob("*.md")):
        name = str(path.relative_to(ROOT / "docs"))
        if name != "SUMMARY.md" and name not in listed:
            yield f"docs/SUMMARY.md: does not list {name}"
