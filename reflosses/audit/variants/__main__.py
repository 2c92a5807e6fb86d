"""``python -m reflosses.audit.variants [count [first]]``: audit correct implementations and print who is accused."""

import sys
import time

from . import accusations, examined, variant

COUNT = 1000


def main(arguments):
    count, first = (int(x) for x in (*arguments, COUNT, 0)[:2]) if len(arguments) < 2 else map(int, arguments[:2])
    begun, grades, accused = time.monotonic(), dict.fromkeys("ABCDF", 0), 0
    for number in range(first, first + count):
        drawn = variant(number)
        verdict = examined(drawn)
        grades[verdict.grade] += 1
        found = accusations(verdict)
        accused += bool(found)
        for x in found:
            sys.stdout.write(f"{drawn}\n    grade {verdict.grade}: {x.kind} {x.name}: {x.sentence}\n")
        sys.stdout.flush()
    said = ", ".join(f"{n} {grade}" for grade, n in grades.items() if n)
    sys.stdout.write(f"{count} correct implementations, {accused} accused, in {time.monotonic() - begun:.0f} s: {said}\n")
    return accused


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
