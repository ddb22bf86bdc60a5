"""Reads pairs of a value and its YAML on standard input, and fails where the YAML is read as another value."""
import json
import sys

import yaml

pairs = json.load(sys.stdin)
wrong = [pair for pair in pairs if yaml.safe_load(pair["text"]) != pair["value"]]
for pair in wrong:
    print(f"{pair['value']!r} was written as\n{pair['text']}")
print(f"{len(pairs)} values")
sys.exit(1 if wrong or not pairs else 0)
