"""What does the demo run, and what does it report?

May import everything that stands before it; `serving` inside functions. A domain's demo is declared in its folder, as
`pipelines.orchestration.demo_story.Demo`. Add a new stage of every demo in `run`, and a new figure of its report in
`figures`.
"""
