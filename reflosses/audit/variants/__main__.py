"""``python -m reflosses.audit.variants [count [first]]``: audit correct implementations and print who is accused."""

import sys
import time

from . import accusations, examined, variant

COUNT = 1000


def main(count=COUNT, first=0):
    """Audit ``count`` variants from a number on; return how many are accused."""
    begun, grades, accused = time.monotonic(), dict.fromkeys("ABCDF", 0), 0
    for number in range(int(first), int(first) + int(count)):
        drawn = variant(number)
        verdict = examined(drawn)
        found = accusations(verdict)
        grades[verdict.grade] += 1
        accused += bool(found)
        for x in found:
            sys.stdout.write(f"{drawn}\n    grade {verdict.grade}: {x.kind} {x.name}: {x.sentence}\n")
        sys.stdout.flush()
    said = ", ".join(f"{n} {grade}" for grade, n in grades.items() if n)
    seconds = time.monotonic() - begun
    sys.stdout.write(f"{count} correct implementations, {accused} accused, in {seconds:.0f} s: {said}\n")
    return accused


if __name__ == "__main__":
    sys.exit(bool(main(*sys.argv[1:])))
