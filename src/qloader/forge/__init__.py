"""The pull request that a plan is reviewed in: its one comment, and the plan that was reviewed there.

Knows forges (GitHub, GitLab) and the texts that stand there; knows no config, source, state or index. What is posted
comes from `render`, what is fetched is a plan file.
"""
