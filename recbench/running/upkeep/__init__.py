"""Checks of the machine, and the watched child process of a command that runs foreign code."""
