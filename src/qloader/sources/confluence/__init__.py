"""The `confluence` source: pages, blog posts and attachments of a site, Cloud or Data Center."""
