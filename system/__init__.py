"""The operating system: errors, the command line, the terminal, files and worker processes. Knows no pictures."""
