"""Flights from New York in 2013, and the model that predicts whether a flight arrives late.

A new table is a contract in `contracts/` and a transform in `silver` or `gold`.
"""
