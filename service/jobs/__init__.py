"""Jobs: files in, files out, in shards that are each done once whatever dies.

`specs` says what a job is, `store` keeps its state, `sources` and `plan` find and cut its input,
`kinds` and `mining` do the work of a shard and of an alignment, `shards` publishes what a shard
came to, `results` puts the shards together, and `runner` drives all of it. docs/jobs.md has the
promises.
"""
