"""The platform's own assets: upkeep, quality pages, the list of sources.

A new one is a governed asset of the kind `ops` in a module of its own.
"""
