"""How does a kind of thing get done? `CONTRIBUTING.md` shows the packages and the order in which they may import."""
