"""Search over paths: branches, and new departures from the middle of good ones."""
