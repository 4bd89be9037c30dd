"""What do runs leave behind, and which column comes from which?

May import `settings`, `machine`.
A new kind of Spark Connect relation or expression is a function in `plan_relations` or `plan_expressions`, a new kind
of SQL syntax one in `plan_sql`. In order of their imports: `plan_columns`, `plan_walk`, `plan_sql`, `plan_expressions`,
`plan_relations`, `column_lineage`, `outbox`,
`events`.
"""
