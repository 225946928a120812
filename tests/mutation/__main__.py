"""
Mutate the package by mutmut, and print the score by module and the survivors that equivalent.toml does not explain.

With the argument ``score``, only print what mutmut left in mutants/.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code
from mutmut.utils.format_utils import orig_function_and_class_names_from_key

from airflow_provider_kendra.testing import LocalKendra

GOAL = 95.0
PACKAGE = Path("airflow_provider_kendra")
DETECTED = ("killed", "timeout")

Change = tuple[str, str, str, str]
"""Module, function, the line as it was, the line as it has become; several lines are joined."""


def change_of(mutant: str, path: Path) -> Change:
    function, class_name = orig_function_and_class_names_from_key(mutant)
    diff = get_diff_for_mutant(mutant, path=path).splitlines()
    was, becomes = (
        " ".join(line[1:].strip() for line in diff if line.startswith(sign) and not line.startswith(sign * 3))
        for sign in "-+"
    )
    return path.stem, f"{class_name}.{function}" if class_name else function, was, becomes


def run() -> None:
    """Try all mutants that have not been tried since they changed: one after the other, on one local Kendra."""
    mutmut = Path(sys.executable).with_name("mutmut")
    with LocalKendra() as kendra:
        environment = {**os.environ, "KENDRA_TEST_SERVER": kendra.url}
        subprocess.run([mutmut, "run", "--max-children", "1"], env=environment, check=True)


def main() -> int:
    if "score" not in sys.argv[1:]:
        run()
    listed = tomllib.loads(Path(__file__).with_name("equivalent.toml").read_text())["equivalent"]
    equivalents: Counter[Change] = Counter(
        {(each["module"], each["function"], each["was"], each["becomes"]): 0 for each in listed}
    )
    table, is_good = [], True
    for meta in sorted(Path("mutants", PACKAGE).rglob("*.meta")):
        path, found = meta.relative_to("mutants").with_suffix(""), json.loads(meta.read_text())
        statuses = {mutant: status_by_exit_code[code] for mutant, code in found["exit_code_by_key"].items()}
        survivors = []
        for mutant, status in statuses.items():
            if status not in DETECTED:
                change = change_of(mutant, path)
                if change in equivalents:
                    equivalents[change] += 1
                else:
                    survivors.append((mutant, status, *change))
        for mutant, status, _, function, was, becomes in survivors:
            print(f"{status}: {function} ({mutant})\n  - {was}\n  + {becomes}")
        equivalent = sum(count for (module, *_), count in equivalents.items() if module == path.stem)
        killed = len(statuses) - equivalent - len(survivors)
        score = 100 * killed / (len(statuses) - equivalent)
        is_good &= score >= GOAL
        raw = 100 * killed / len(statuses)
        table.append((path.stem, len(statuses), killed, equivalent, len(survivors), score, raw))

    print()
    row = "{:12}{:>9}{:>9}{:>12}{:>10}{:>9}{:>8}"
    print(row.format("module", "mutants", "killed", "equivalent", "survived", "score %", "raw %"))
    for module, *numbers, score, raw in table:
        print(row.format(module, *numbers, f"{score:.1f}", f"{raw:.1f}"))
    for change in (change for change, count in equivalents.items() if not count):
        print("no survivor is like this one of equivalent.toml:", *change, sep="\n  ")
        is_good = False
    if not is_good:
        print(f"every module must reach {GOAL} %, and every equivalent that is listed must be one that survives")
    return 0 if is_good and table else 1


sys.exit(main())
