"""Runs the blocks of a page, each by its language."""
import csv
import json
import pathlib
import re
import shutil
import signal
import tempfile
import tomllib

from .output import compare, indent
from .pages import Block, Failure
from .shell import Shell, environment_of, free_port

RUNNERS = {"sh", "bash", "console", "python", "yaml", "json", "jsonl", "toml", "csv", "rust", "text"}
NEEDS_SHELL = {"sh", "bash", "console", "python", "yaml"}
# What completes a fragment of a config: the sections that it does not have.
SECTIONS = {
    "input_features": "input_features:\n  - {name: a, type: number}\n  - {name: b, type: number}\n",
    "output_features": "output_features:\n  - {name: y, type: category}\n",
}


def own_port(text, port):
    """The documents use port 8000; pages that are tested at the same time must not meet."""
    text = re.sub(r"^((?:\$ )?mbm serve\b)", rf"\1 --port {port}", text, flags=re.MULTILINE)
    return re.sub(r"\b(127\.0\.0\.1|localhost):8000\b", rf"\1:{port}", text)


def commands_of(text):
    """Pairs of a command and the lines that it should print."""
    pairs = []
    for line in text.splitlines():
        if line.startswith("$ "):
            pairs.append((line[2:], []))
        elif not pairs:
            raise Failure("a console block begins with `$ `")
        elif line.startswith("> ") and not pairs[-1][1]:
            pairs[-1] = (pairs[-1][0] + "\n" + line[2:], [])
        elif pairs[-1][0].endswith("\\") and not pairs[-1][1]:
            pairs[-1] = (pairs[-1][0] + "\n" + line, [])
        else:
            pairs[-1][1].append(line)
    return pairs


class Page:
    """What the blocks of a page share: the folder, the shell, the last output."""

    def __init__(self, page, shell, folder):
        self.page, self.shell, self.folder, self.port = page, shell, folder, free_port()
        self.output = []

    def run(self, block):
        text = own_port(block.text, self.port)
        if name := block.notes.get("file"):
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        getattr(self, "run_" + {"bash": "sh"}.get(block.language, block.language))(block, text)

    def run_sh(self, block, text):
        # Any command that fails ends the block, as the reader would stop.
        lines, status = self.shell.run(f"( set -e\n{text}\n)")
        self.output = lines
        check_status(block, status, lines)

    def run_console(self, block, text):
        tolerance = tolerance_of(block)
        pairs = commands_of(text)
        for at, (command, expected) in enumerate(pairs):
            if "background" in block.notes:
                self.shell.start(command, expected, tolerance)
                continue
            lines, status = self.shell.run(command)
            if at + 1 < len(pairs):
                expected_status = Block(block.page, block.line, "", "", {})
            else:
                expected_status = block
            check_status(expected_status, status, lines)
            compare(expected, lines, tolerance)

    def run_text(self, block, text):
        if "output" in block.notes:
            compare(text.splitlines(), self.output, tolerance_of(block))

    def run_python(self, block, text):
        script = self.folder / ".block.py"
        script.write_text(text, encoding="utf-8")
        lines, status = self.shell.run(f"python3 {script}")
        self.output = lines
        check_status(block, status, lines)

    def run_yaml(self, block, text):
        self.inspect(block, text, "yaml")

    def run_json(self, block, text):
        if isinstance(value := json.loads(text), dict) and "input_features" in value:
            self.inspect(block, text, "json")

    def run_jsonl(self, block, text):
        for line in text.splitlines():
            json.loads(line)

    def run_toml(self, block, text):
        if "input_features" in tomllib.loads(text):
            self.inspect(block, text, "toml")

    def run_csv(self, block, text):
        widths = {len(row) for row in csv.reader(text.splitlines())}
        if len(widths) != 1:
            raise Failure(f"rows have {sorted(widths)} cells")

    def run_rust(self, block, text):
        pass

    def inspect(self, block, text, kind):
        if kind == "yaml":
            text += "".join(section for name, section in SECTIONS.items() if not re.search(rf"^{name}:", text, re.MULTILINE))
        config = self.folder / f".block.{kind}"
        config.write_text(text, encoding="utf-8")
        lines, status = self.shell.run(f"mbm inspect {config}")
        if "fails" in block.notes:
            return check_status(block, status, lines)
        problems = [line for line in lines if line.startswith("  line ")]
        # Weights that are not shipped are the only thing that may be missing.
        absent = [line for line in problems if re.search(r"\.weights: .*(no such file or folder|not in the cache|HF_HUB_OFFLINE)", line)]
        if status and (not problems or problems != absent):
            raise Failure("mbm inspect refuses it:\n" + indent(lines))


def tolerance_of(block):
    return float(block.notes["tolerance"]) if "tolerance" in block.notes else None


def check_status(block, status, lines):
    if "fails" in block.notes and status == 0:
        raise Failure("it should fail, and does not:\n" + indent(lines))
    if "fails" not in block.notes and status != 0:
        raise Failure(f"exit status {status}:\n" + indent(lines))


def test_page(page, blocks, binary, template):
    """Runs the page's blocks; returns the failures."""
    failures = []
    with tempfile.TemporaryDirectory(prefix="mbm-docs-") as temporary:
        folder = pathlib.Path(temporary) / "mbm"
        folder.mkdir()
        if any(block.language in NEEDS_SHELL and "not run" not in block.notes for block in blocks):
            shutil.copytree(template, folder, dirs_exist_ok=True)
        shell = Shell(folder, environment_of(binary, pathlib.Path(temporary)))
        state = Page(page, shell, folder)
        try:
            for block in blocks:
                if "not run" in block.notes or block.language not in RUNNERS:
                    continue
                try:
                    state.run(block)
                except (Failure, ValueError) as error:
                    failures.append(f"{block}: {block.language}: {error}")
                    # Later blocks need what this one would have made.
                    break
        finally:
            signal.alarm(0)
            shell.close()
    return failures
