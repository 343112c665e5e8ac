"""`python -m local.cli`: the console script `darkroom`, also where it is not installed."""

from local.cli import main

main()
