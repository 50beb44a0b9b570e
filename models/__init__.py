"""The contract between training and serving: the bundle format, and the shipped bundles."""
