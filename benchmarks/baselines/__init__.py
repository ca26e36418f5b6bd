"""Other ways of doing the same, to compare with."""
