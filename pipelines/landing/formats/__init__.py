"""How is a file of a format recognized and read?

May import the `landing` modules that stand before `reading`.
A new format is one module here, named as contracts name the format; `contracts.model.Format` lists the names.
"""
