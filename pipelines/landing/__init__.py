"""What has landed, and may it come in?

May import `contracts`, `lakehouse`, `sources` and what stands before them.
A new check of deliveries belongs in `edge`, a new file format in `formats`, a new kind of store in `stores`.
"""
