"""Where the cycles of a network go: an account of every lane and cycle (``docs/profile.md``)."""
