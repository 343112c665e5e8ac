"""Deadlines, and the signals below them: real signals, to this very process."""

import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator

import pytest

from shared.deadline import (
    SOFT_LIMIT_SIGNALS,
    Deadline,
    MainThreadInterrupt,
    discard_pending_soft_limit,
    interruptible,
    shielded,
)
from shared.errors import JobCancelled, SoftTimeLimitReached
from tests.support.wait import wait_until

# pytest-timeout's own timer is the one that these tests take over.
pytestmark = pytest.mark.timeout(30, method="thread")

LIMIT = SoftTimeLimitReached(1)


class SignalArrived(Exception):
    """Raised by the handler of a test's signal."""


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Let the two signals raise in the test, and give them back afterwards."""

    def arrive(_signum: int, _frame: object) -> None:
        raise SignalArrived

    before = {number: signal.signal(number, arrive) for number in SOFT_LIMIT_SIGNALS}
    yield
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def interrupt() -> MainThreadInterrupt:
    """Give an interrupt that owns SIGALRM."""
    interrupt = MainThreadInterrupt()
    interrupt.install()
    return interrupt


def strike(number: signal.Signals) -> None:
    """Send a signal to this thread: pytest-timeout's own thread would take one to the process."""
    signal.pthread_kill(threading.get_ident(), number)


def run(program: str, *, expecting: tuple[int, str]) -> None:
    """Run a program in a process of its own, to an exit code and an output."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stdout) == expecting, done.stderr


def spin(seconds: float) -> None:
    """Keep Python busy until something raises, or for the time."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        pass


@pytest.mark.parametrize(("limit", "margin"), [(300, 15), (1000, 15), (100, 5), (3, 0.15), (0, 0)])
def test_the_deadline_lies_a_margin_before_the_limit(limit: float, margin: float) -> None:
    """15 seconds or 5 per cent, whichever is less."""
    deadline = Deadline(limit, started_at=time.monotonic())
    assert deadline.remaining_seconds() == pytest.approx(limit - margin, abs=0.5)


def test_a_deadline_counts_from_the_start_that_it_is_given() -> None:
    """A job that waited inside the worker has less time left."""
    assert Deadline(100, time.monotonic() - 60).remaining_seconds() == pytest.approx(35, abs=0.5)


def test_after_the_deadline_nothing_is_left() -> None:
    """What remains is never negative, and every check raises."""
    deadline = Deadline(100, time.monotonic() - 100)
    assert deadline.remaining_seconds() == 0
    for ask in (deadline.check, lambda: deadline.timeout(1)):
        with pytest.raises(SoftTimeLimitReached, match=r"limit of 100 s$"):
            ask()


def test_a_timeout_is_what_is_left_but_no_more_than_asked() -> None:
    """A call gets its usual timeout until the deadline is nearer."""
    deadline = Deadline(100, time.monotonic() - 90)
    deadline.check()
    assert deadline.timeout(2) == 2
    assert deadline.timeout(60) == pytest.approx(5, abs=0.5)


@pytest.mark.parametrize("number", sorted(SOFT_LIMIT_SIGNALS))
def test_a_shielded_body_runs_to_its_end(number: signal.Signals) -> None:
    """The signal strikes right after it, not in its middle."""
    done = []

    def work() -> None:
        with shielded():
            strike(number)
            spin(0.02)
            done.append(True)

    with pytest.raises(SignalArrived):
        work()
    assert done


def test_an_interruptible_call_inside_a_shielded_body_is_cut() -> None:
    """A signal that was held back strikes as the provider call begins; then all is held again."""
    reached = []
    with shielded():
        strike(signal.SIGUSR1)
        reached.append("before")
        with pytest.raises(SignalArrived), interruptible():
            reached.append("inside")
        strike(signal.SIGUSR1)
        reached.append("after")
        discard_pending_soft_limit()
    assert reached == ["before", "after"]


def test_masks_are_restored_from_nested_bodies() -> None:
    """Each body puts back what it found."""
    with shielded():
        with interruptible():
            assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
            with shielded():
                assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())
            assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
        assert signal.SIGUSR1 in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_held_back_soft_limit_can_be_forgotten() -> None:
    """A limit that struck while the end was written must not strike the next job."""
    handler = signal.getsignal(signal.SIGUSR1)
    with shielded():
        for number in SOFT_LIMIT_SIGNALS:
            strike(number)
        discard_pending_soft_limit()
        assert not SOFT_LIMIT_SIGNALS & signal.sigpending()
    assert signal.getsignal(signal.SIGUSR1) == handler
    with pytest.raises(SignalArrived):
        strike(signal.SIGUSR1)


def test_only_the_main_thread_forgets() -> None:
    """Signal handlers can be changed nowhere else; another thread's call does nothing."""
    failures: list[BaseException] = []

    def discard() -> None:
        try:
            discard_pending_soft_limit()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=discard)
    thread.start()
    thread.join()
    assert not failures


def test_a_thread_started_inside_a_shielded_body_leaves_the_signal_to_it() -> None:
    """A signal to the process waits for the main thread, where Python raises."""
    run(
        """
        import os, signal, threading
        from shared.deadline import discard_pending_soft_limit, interruptible, shielded

        def strike(*_):
            raise SystemExit(7)

        signal.signal(signal.SIGUSR1, strike)
        stop = threading.Event()
        with shielded():
            for _ in range(4):
                threading.Thread(target=stop.wait, daemon=True).start()
            os.kill(os.getpid(), signal.SIGUSR1)
            sum(range(100_000))
            print("written", signal.SIGUSR1 in signal.sigpending(), flush=True)
            with interruptible():
                print("never")
        """,
        expecting=(7, "written True\n"),
    )


def test_a_body_that_takes_too_long_is_interrupted(interrupt: MainThreadInterrupt) -> None:
    """The very error is raised, at the next bytecode."""
    with pytest.raises(SoftTimeLimitReached) as caught, interrupt.after(0.02, LIMIT):
        spin(5)
    assert caught.value is LIMIT


@pytest.mark.parametrize("seconds", [0, -3])
def test_a_time_that_is_over_interrupts_at_once(
    interrupt: MainThreadInterrupt, seconds: float
) -> None:
    """A zero would disarm the timer instead."""
    with pytest.raises(SoftTimeLimitReached), interrupt.after(seconds, LIMIT):
        spin(5)


def test_the_timer_is_disarmed_after_the_body(interrupt: MainThreadInterrupt) -> None:
    """One left armed would end the runtime process between two invocations."""
    with interrupt.after(5, LIMIT):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_the_timer_is_disarmed_after_an_error(
    interrupt: MainThreadInterrupt, error: type[BaseException]
) -> None:
    """Whatever ended the body."""
    with pytest.raises(error), interrupt.after(5, LIMIT):
        raise error
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_an_alarm_after_the_body_raises_nothing(interrupt: MainThreadInterrupt) -> None:
    """One that was on its way when the body ended finds nothing to say."""
    with interrupt.after(5, LIMIT):
        pass
    strike(signal.SIGALRM)
    spin(0.02)


def test_another_thread_interrupts_the_main_one(interrupt: MainThreadInterrupt) -> None:
    """The lease keeper stops a provider call this way."""
    reason = JobCancelled()
    thread = threading.Thread(target=interrupt.interrupt, args=(reason,))

    def work() -> None:
        thread.start()
        spin(5)

    with pytest.raises(JobCancelled) as caught:
        work()
    assert caught.value is reason
    thread.join()


def test_an_interrupt_waits_for_a_shielded_body(interrupt: MainThreadInterrupt) -> None:
    """It strikes once signals are let through, or is forgotten before."""
    done = []

    def work() -> None:
        with shielded():
            interrupt.interrupt(JobCancelled())
            spin(0.02)
            done.append(True)

    with pytest.raises(JobCancelled):
        work()
    assert done
    with shielded():
        interrupt.interrupt(JobCancelled())
        discard_pending_soft_limit()


def test_an_interrupt_that_was_not_installed_does_nothing() -> None:
    """In a worker pool of threads the cooperative checks remain."""
    MainThreadInterrupt().interrupt(JobCancelled())
    spin(0.02)


def test_outside_the_main_thread_no_timer_is_armed() -> None:
    """Without its handler, the signal of the timer would end the process."""
    run(
        """
        import threading, time
        from shared.deadline import MainThreadInterrupt
        from shared.errors import JobCancelled

        def work():
            interrupt = MainThreadInterrupt()
            interrupt.install()
            with interrupt.after(0.01, JobCancelled()):
                time.sleep(0.1)
            print("done")

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        """,
        expecting=(0, "done\n"),
    )


def test_sigterm_is_held_back_too() -> None:
    """A process that receives SIGTERM first finishes what it writes."""
    run(
        """
        import os, signal, sys
        from shared.deadline import interruptible, shielded

        signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
        with shielded():
            os.kill(os.getpid(), signal.SIGTERM)
            print("written", flush=True)
            with interruptible():
                print("never")
        """,
        expecting=(3, "written\n"),
    )


def test_a_sleeping_main_thread_is_woken(interrupt: MainThreadInterrupt) -> None:
    """Waiting in Python ends at once, not when its time is over."""
    started_at = time.monotonic()
    with pytest.raises(SoftTimeLimitReached), interrupt.after(0.02, LIMIT):
        wait_until(lambda: False, 20, "never")
    assert time.monotonic() - started_at < 5
