"""What do runs leave behind, and which column comes from which?

May import `settings`, `machine`.
A new kind of Spark Connect relation or expression is a function in `plan_relations` or `plan_expressions`.
"""
