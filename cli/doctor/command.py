"""`darkroom doctor`: every rule held against this environment, these files and these servers."""

import os
import sys
from pathlib import Path

import typer
from rich.console import Console

from cli.doctor.gathering import PROJECT, RULES, gather
from cli.doctor.recovery import recovery_times
from cli.doctor.report import describe, recovery_table, verdict_of
from cli.doctor.rule import Verdict, examine

WIDTH_OF_FILES = 200
"""Columns where standard output is no terminal."""


def run_doctor(folder: Path | None, *, only_broken: bool) -> None:
    """Print each rule and the recovery times; end with 1 if a rule is broken.

    Args:
        folder: Where docker-compose.yml and template.yaml are; None takes that of this code.
        only_broken: Leave out rules that hold.

    Raises:
        ConfigurationError: A file is there but cannot be read.
    """
    facts = gather(folder or PROJECT, os.environ)
    findings = examine(RULES, facts)
    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_FILES, highlight=False)
    for finding in findings:
        if not only_broken or finding.verdict is Verdict.BROKEN:
            for line in describe(finding):
                console.print(line, soft_wrap=True)
    if not only_broken:
        console.print()
        console.print(recovery_table(recovery_times(facts)))
    console.print(verdict_of(findings), soft_wrap=True)
    if any(finding.verdict is Verdict.BROKEN for finding in findings):
        raise typer.Exit(1)
