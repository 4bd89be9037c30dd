"""Models of texts: a label for a text, and a text that answers a text.

They begin with the weights of a base model. May import `ray_jobs.core` and what that may.
A further way to train a text model is a module here with a class that implements `core.program.Program`.
"""
