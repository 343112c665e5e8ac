"""The process that decodes an upload."""

import subprocess
import sys

import psutil

from tests.support.wait import wait_until


def test_requests_go_before_it() -> None:
    """It is nicer than the process that started it."""
    program = "from shared.imaging.uploads import serve; serve(5, 10**9)"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as decoder:
        process = psutil.Process(decoder.pid)
        wait_until(lambda: process.nice() > psutil.Process().nice(), 20, "the decoder to be nicer")
        decoder.communicate(b"no picture")
