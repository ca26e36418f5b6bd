"""Six commands that measure this toolkit; README.md has their results. Run them from the root of the repository."""
