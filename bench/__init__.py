"""Measurements, each against a peer or a bare engine in the same run."""
