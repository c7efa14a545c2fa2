"""Testing workflows without a log, a database or patience; and the simulation of the engine."""
