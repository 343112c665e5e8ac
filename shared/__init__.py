"""What both runtimes run: the generation logic, its rows, its events and its images."""

__version__ = "0.1.0"
