"""What both runtimes run: the generation logic, its rows, its events and its images."""
