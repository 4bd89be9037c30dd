"""Measurements of the platform, each against another program or the bare engine in the same run."""
