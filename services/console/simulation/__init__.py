"""The parts of a simulation: what it reads, one customer on its clock, what it shows."""
