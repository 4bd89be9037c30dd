"""What is the first form of a declaration? Contracts and Python modules of a domain, written by `goldpath new`.

May import everything of `pipelines` but `commands`. One more thing that `goldpath new` writes goes into a module of its
own, which returns a `Draft`.
"""
