"""What has landed, and may it come in?

May import `contracts`, `lakehouse`, `sources` and what stands before them.
A new check of deliveries stands in `edge`; a new file format in `formats`.
"""
