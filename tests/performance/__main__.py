"""`make bench`: prints ratios, each against something measured in the same run."""

from tests.performance.bundles import measure_bundles, measure_cold_starts, why_no_containers
from tests.performance.imports import measure_api_imports, measure_imports
from tests.performance.memory import measure_memory
from tests.performance.questions import measure_questions
from tests.performance.round_trips import measure_job
from tests.performance.statements import measure_statements
from tests.performance.streams import compare_streams
from tests.performance.submissions import compare_submissions
from tests.performance.worker import compare_workers


def main() -> None:
    """Measure everything and print a line for each."""
    print("worker, against the hand-written task (target: at least 0.65)", flush=True)
    print(f"    {compare_workers().describe()}", flush=True)
    print(
        "one job (target: at most 4 commits with submission, one Redis call an event)", flush=True
    )
    print(f"    {measure_job().describe()}", flush=True)
    print("memory of a job slot, real SDK, pictures of 1.5 MB (target: at most 40 MB)", flush=True)
    print(f"    {measure_memory().describe()}", flush=True)
    print("import of functions.worker, against its libraries (target: at most 1.2)", flush=True)
    print(f"    {measure_imports().describe()}", flush=True)
    print("import of functions.api, against its libraries (target: at most 1.2)", flush=True)
    print(f"    {measure_api_imports().describe()}", flush=True)
    print("submissions of 16 connections, against a bare route (target: at least 0.7)", flush=True)
    print(f"    {compare_submissions().describe()}", flush=True)
    print(
        "1,000 event streams (targets: p50 at most 1 ms and p99 at most 10 ms over raw; memory at"
        " most 0.4 of the usual way; one connection subscribed, one reading)",
        flush=True,
    )
    print(f"    {compare_streams().describe()}", flush=True)
    print(
        "statements among 1,000,000 ended and 100,000 waiting jobs (target: at most a few hundred"
        " pages and 10 ms)",
        flush=True,
    )
    print(f"    {measure_statements().describe()}", flush=True)
    print("what operators ask, among as many jobs (commands: seconds with their start)", flush=True)
    for line in measure_questions():
        print(f"    {line}", flush=True)
    print("bundles of the functions, unzipped and compiled", flush=True)
    print(f"    {measure_bundles().describe()}", flush=True)
    print("cold start of functions.worker, against a bare handler in the same image", flush=True)
    print(f"    {why_no_containers() or measure_cold_starts().describe()}", flush=True)


if __name__ == "__main__":
    main()
