"""What the Confluence and Jira sources share: how to ask an Atlassian server, and its times. No source itself."""
