"""What did a run use, and what does that cost?

May import `lakehouse`, `lineage` and what stands before them.
A new resource is measured in `metering` and gets its price in `prices`.
"""
