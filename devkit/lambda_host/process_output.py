"""Passes the lines that a function prints on to the host's own output."""

import json
import subprocess
import sys

import structlog

_logger = structlog.get_logger()


def pass_on_lines(process: subprocess.Popen[bytes], function_name: str) -> None:
    """Copy the output of a process to stdout until it ends, whole lines at a time.

    JSON objects pass as they are. Anything else (a traceback of the interpreter itself) becomes
    the text of a log line, so that the host's output is one object a line throughout.
    """
    if process.stdout is None:
        return
    # Shares structlog's lock on stdout, so that no line is cut by one of the host's.
    stdout = structlog.WriteLogger(sys.stdout)
    with process.stdout as lines:
        for raw_line in lines:
            line = raw_line.decode(errors="replace").rstrip("\r\n")
            if _is_json_object(line):
                stdout.msg(line)
            elif line.strip():
                _logger.warning(
                    "function_output", function=function_name, pid=process.pid, line=line
                )


def _is_json_object(line: str) -> bool:
    if not line.startswith("{"):
        return False
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
