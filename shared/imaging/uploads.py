"""Cleans uploaded pictures in a process of its own, where time and memory have limits.

Called by `shared.generation.asset_keeper`. A picture that a decoder chokes on, or a decoder that a
picture breaks, ends that process alone.
"""

import json
import os
import resource
import subprocess
import sys
import sysconfig
from contextlib import suppress
from dataclasses import asdict

from shared.imaging.containers import NotAPicture, Picture

CPU_SECONDS = 5
NICENESS = 5
"""Requests go first: their processes get three times as much of a processor (sched(7))."""

WAIT_SECONDS = 20
"""A busy machine, or a Lambda function with little memory, gives less than a processor."""

MEMORY_BYTES = 704 * 1024 * 1024
"""For 50 million pixels of a JPEG, turned. The API function has 1024 MB, and takes one upload."""

_TAKES_TOO_LONG = "takes too long to decode"


def clean_upload(
    data: bytes, *, cpu_seconds: int = CPU_SECONDS, memory_bytes: int = MEMORY_BYTES
) -> Picture:
    """Return a picture upright, in sRGB, still, and with nothing but its pixels; see `clean`.

    Raises:
        NotAPicture: It is not a complete PNG, JPEG, WebP or AVIF, or decoding or keeping it would
            cost too much.
    """
    program = f"from shared.imaging.uploads import serve; serve({cpu_seconds}, {memory_bytes})"
    command = [sys.executable, "-c", program]
    # Nothing of our own environment: a decoder that is taken over finds no secret. Lambda's Python
    # finds its library by this path alone.
    environment = {
        "LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR") or ""),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            command,
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            timeout=WAIT_SECONDS,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise NotAPicture(_TAKES_TOO_LONG) from error
    except subprocess.CalledProcessError as error:
        raise NotAPicture(
            _TAKES_TOO_LONG if error.returncode < 0 else "cannot be decoded"
        ) from error
    line, _, picture = done.stdout.partition(b"\n")
    facts = json.loads(line)
    if "reason" in facts:
        raise NotAPicture(facts["reason"])
    return Picture(picture, **facts)


def serve(cpu_seconds: int, memory_bytes: int) -> None:
    """Clean the picture on standard input; write a line of JSON and the bytes."""
    os.nice(NICENESS)
    with suppress(ValueError, OSError):  # macOS knows no limit of memory
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    from shared.imaging.pictures import clean

    try:
        facts = asdict(clean(sys.stdin.buffer.read()))
        data = facts.pop("data")
    except NotAPicture as error:
        facts, data = {"reason": str(error)}, b""
    sys.stdout.buffer.write(json.dumps(facts).encode() + b"\n" + data)
