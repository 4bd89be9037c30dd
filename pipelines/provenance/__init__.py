"""Where does this come from, and what depends on it?

May import `models`, `medallion`, `quarantine` and what stands before them.
A new question about origins is a module here.
"""
