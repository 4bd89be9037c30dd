"""How is a file of a format recognized and read?

May import the `landing` modules that stand before `column_drift` and `reading`, and the parts that formats share:
`base` and `opening`.
A new format is one module here, named as contracts name the format, with what `base.FileFormat` asks for;
`contracts.model.Format` lists the names.
"""
