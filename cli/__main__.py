"""`python -m cli`: the console script `darkroom`, also where it is not installed."""

from cli import main

main()
