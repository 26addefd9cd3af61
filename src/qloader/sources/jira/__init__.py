"""The `jira` source: the issues of a site, Cloud or Data Center."""
