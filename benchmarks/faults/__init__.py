"""The parts of the reliability benchmark: killing scripts, damaging files, filling disks."""
