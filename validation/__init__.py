"""Physics against references: labels, forces and dynamics. Each module is one command, `python -m validation.NAME`."""
