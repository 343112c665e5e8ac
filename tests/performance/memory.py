"""What a job slot of the Celery worker holds: the real SDK over HTTP, pictures of 1.5 MB."""

from dataclasses import dataclass

import psutil

from devkit.harness import harness
from devkit.runtimes import RuntimeProcess
from shared.imaging.request import GenerationRequest
from shared.wiring import Services
from tests.support.images_api import ImagesApi, noise_png
from tests.support.wait import wait_until

JOBS_A_SLOT = 4
MB = 1e6


@dataclass(frozen=True)
class WorkerMemory:
    """Bytes of a worker.

    Attributes:
        idle_slot: What a child holds alone before its first job.
        slot: The same after some jobs: the price of one more slot.
        main: What the main process holds, shared pages included.
        whole: What all of it holds at the end, shared pages counted once.
    """

    slots: int
    idle_slot: float
    slot: float
    main: float
    whole: float

    def describe(self) -> str:
        """Return the figures as a line."""
        return (
            f"{self.slot / MB:.0f} MB a slot after {JOBS_A_SLOT} jobs ({self.idle_slot / MB:.0f} MB"
            f" before the first); {self.whole / MB:.0f} MB with {self.slots} slots"
        )


def measure_memory(slots: int = 4) -> WorkerMemory:
    """Run some jobs in each slot of a worker, and measure before and after."""
    with harness() as ground, ImagesApi(noise_png) as api:
        images = str(ground.folder / "images")
        environment = ground.environment(**api.environment, IMAGE_DIR=images)
        services = ground.open_services(environment)
        worker = ground.add(
            RuntimeProcess("celery", environment, ground.folder / "celery.log", slots)
        )
        ground.start()
        idle = _measure(worker)
        for _ in range(JOBS_A_SLOT):
            _run_a_job_in_each_slot(services, slots)
        busy = _measure(worker)
    return WorkerMemory(slots, idle[0], *busy)


def _run_a_job_in_each_slot(services: Services, slots: int) -> None:
    request = GenerationRequest(prompt="a red mug", size="1024x1024")
    jobs = [services.submit(request).id for _ in range(slots)]

    def all_ended() -> bool:
        return all(services.get(job_id).announced_at for job_id in jobs)

    wait_until(all_ended, 120, f"{slots} jobs to end")
    assert [services.get(job_id).error for job_id in jobs] == [None] * slots


def _measure(worker: RuntimeProcess) -> tuple[float, float, float]:
    main = psutil.Process(worker.pid)
    children = [child.memory_full_info() for child in main.children()]
    own = main.memory_full_info()
    slot = sum(child.uss for child in children) / len(children)
    return slot, own.rss, sum(each.pss for each in (own, *children))
