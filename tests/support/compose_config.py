"""docker-compose.yml as compose itself reads it; needs no Docker engine.

The program comes with the development packages; `docker compose config` is what it runs.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("docker-compose")

Config = dict[str, Any]


def compose_config(override: str = "", **variables: str) -> Config:
    """Return the file as compose starts it, every profile included.

    Args:
        override: Another file, as YAML, that is merged into this one.
        variables: The environment that compose is started in; a developer's own is not read.

    Raises:
        AssertionError: Compose refuses the file; holds the reason.
    """
    assert PROGRAM.is_file(), "docker-compose is not installed: make .venv/.dev"
    files = ["--file=docker-compose.yml", *(["--file=-"] if override else [])]
    options = ["--profile=*", f"--env-file={os.devnull}", *files]
    done = subprocess.run(
        [str(PROGRAM), *options, "config", "--format=json"],
        cwd=PROJECT,
        env=variables,
        input=override,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    config: Config = json.loads(done.stdout)
    return config
