"""`make bench`: prints ratios, each against something measured in the same run."""

from tests.performance.imports import measure_imports
from tests.performance.round_trips import measure_job
from tests.performance.worker import compare_workers


def main() -> None:
    """Measure everything and print a line for each."""
    print("worker, against the hand-written task (target: at least 0.65)", flush=True)
    print(f"    {compare_workers().describe()}", flush=True)
    print(
        "one job (target: at most 4 commits with submission, one Redis call an event)", flush=True
    )
    print(f"    {measure_job().describe()}", flush=True)
    print("import of functions.worker, against its libraries (target: at most 1.2)", flush=True)
    print(f"    {measure_imports().describe()}", flush=True)


if __name__ == "__main__":
    main()
