"""Care around a command: checks of the machine, a watched child process, what a sudden end leaves."""
