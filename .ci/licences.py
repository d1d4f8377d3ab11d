#!/usr/bin/env python3
"""Fails if a compiled dependency has a license that is not on the list."""
import json
import re
import subprocess
import sys

ALLOWED = {"MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Zlib", "Unicode-3.0", "MPL-2.0",
           "CC0-1.0", "Unlicense", "0BSD", "BSL-1.0", "MIT-0", "NCSA", "CDLA-Permissive-2.0"}

tree = subprocess.run(["cargo", "tree", "--locked", "--workspace", "-e", "normal", "--prefix", "none", "-f", "{p}|{l}"],
                      check=True, capture_output=True, text=True).stdout
refused = set()
for line in set(tree.splitlines()):
    package, _, licence = line.replace(" (*)", "").partition("|")
    if not package:
        continue
    alternatives = re.split(r" OR |/", licence.replace("(", "").replace(")", ""))
    if not any(all(part.strip() in ALLOWED for part in alternative.split(" AND ")) for alternative in alternatives):
        refused.add(f"{package}: {licence or 'no licence'}")
print(f"{len(set(tree.splitlines()))} packages, {len(refused)} with a licence that is not allowed")
sys.exit("\n".join(sorted(refused)) if refused else 0)
